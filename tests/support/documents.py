"""The OpenAPI documents, and answers checked against them.

    PUBLIC.port = here.web
    answer = PUBLIC.ask("GET", "/api/v1/catalogue")   # fails when the document does not know it
"""
import json
import os
import re

import jsonschema
import yaml

from installation import SOURCE, request

JSON, PAIRS, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
TRANSPORT = {"date", "content-type", "content-length", "connection"}


class Api:
    """A document, and the server that it describes."""

    def __init__(self, name):
        self.name, self.port, self.seen = name, None, set()
        with open(f"{SOURCE}/conf/openapi/{name}.yaml") as f:
            self.document = yaml.safe_load(f)
        self.resolver = jsonschema.RefResolver("", self.document)
        self.components = self.document["components"]
        always = re.search(r"Every answer(?:\*\*)? carries([^;]*)", self.document["info"]["description"])
        self.always = {name.lower() for name in re.findall(r"`([\w-]+)", always[1])}

    def ref(self, node):
        while "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def problems(self, schema, value):
        validator = jsonschema.Draft202012Validator(
            schema, resolver=self.resolver, format_checker=jsonschema.draft202012_format_checker)
        return [f"{e.json_path}: {e.message}"[:300] for e in validator.iter_errors(value)]

    def operations(self):
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def operation(self, method, path):
        return self.document["paths"][path][method.lower()]

    def schema(self, path):
        return self.operation("POST", path)["requestBody"]["content"][JSON]["schema"]

    def examples(self, path):
        content = self.operation("POST", path)["requestBody"]["content"][JSON]
        return {name: e["value"] for name, e in content.get("examples", {}).items()}

    def responses_of(self, method, target):
        """(path, responses) of the operation; without one, what any address answers."""
        for m, path, operation in self.operations():
            pattern = re.sub(r"\{\w+\}", "[^/]+", path)
            if m == method.replace("HEAD", "GET") and re.fullmatch(pattern, target.split("?")[0]):
                return path, operation["responses"]
        return None, {"404": self.components["responses"]["UnknownAddress"],
                      "405": self.components["responses"]["WrongMethod"]}

    def check(self, method, target, answer):
        """Is this an answer that the document knows?"""
        path, responses = self.responses_of(method, target)
        what = f"{self.name}: {method} {target[:80]} gave {answer}"
        if str(answer.status) not in responses:
            raise AssertionError(f"not documented: {what}")
        self.seen.add((method, path, answer.status))
        response = self.ref(responses[str(answer.status)])
        problems = self.header_problems(response, answer)
        if method != "HEAD":
            problems += self.body_problems(response, answer)
        if problems:
            raise AssertionError("\n".join([what] + problems))
        return answer

    def header_problems(self, response, answer):
        documented = {name.lower(): self.ref(h) for name, h in response.get("headers", {}).items()}
        there = {name.lower(): value for name, value in answer.headers.items()}
        needed = self.always | {n for n, h in documented.items() if h.get("required")}
        problems = [f"{name} is missing" for name in needed - set(there)]
        problems += [f"{name} is not documented" for name in
                     set(there) - self.always - TRANSPORT - set(documented)]
        return problems + [p for name, header in documented.items() if name in there
                           for p in self.problems(header["schema"], there[name])]

    def body_problems(self, response, answer):
        content, body = response.get("content"), answer.body
        if content is None:
            return ["a body"] if body else []
        kind = answer.headers["Content-Type"].split(";")[0]
        media = content.get(kind, content.get("*/*"))
        if media is None:
            return [f"{kind} is not documented"]
        if "schema" not in media:
            return []
        value = json.loads(body) if kind.endswith("json") else body.decode()
        problems = self.problems(media["schema"], value)
        if kind == "application/problem+json" and value["status"] != answer.status:
            problems.append("another status")
        return problems

    def ask(self, method, target, body=None, headers=None):
        return self.check(method, target, request(self.port, method, target, body, headers, 60))


PUBLIC, STAFF, OPERATIONS = APIS = [Api(name) for name in ("public", "staff", "operations")]


def spoiled(value):
    """Copies of an object, each with one thing changed: (what, copy)."""
    for name, inner in value.items():
        yield f"no {name}", {n: v for n, v in value.items() if n != name}
        yield f"{name}: null", {**value, name: None}
        yield f"{name} of another type", {**value, name: {} if isinstance(inner, list) else []}
        if isinstance(inner, dict):
            for what, changed in spoiled(inner):
                yield f"{name}: {what}", {**value, name: changed}
    yield "a field more", {**value, "surplus": 1}


def walk(node, place="#"):
    yield place, node
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in inner:
        yield from walk(value, f"{place}/{name}")


def routes_of(api):
    """The route table in the source: {(method, path): (body, rate, same_origin)}."""
    row = re.compile(r'\{"([A-Z]+)",\s*"(/[^"]*)",\s*DW_HTTP_(\w+),\s*([^,]+),\s*[^,]+,\s*(true|false)')
    folder = f"{SOURCE}/workers/{'web' if api is PUBLIC else 'desk'}"
    routes = {}
    for name in os.listdir(folder):
        with open(f"{folder}/{name}") as f:
            for method, path, *facts in row.findall(f.read()):
                routes[method, re.sub(r":(\w+)", r"{\1}", path)] = facts
    return routes
