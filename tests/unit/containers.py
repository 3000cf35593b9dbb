#!/usr/bin/python3
"""docker-compose.yml, conf/Dockerfile and what they use, read and compared: every program has a
container, every name exists, and no container may do more than it should.

The programs themselves run as these files say in `tests/fresh.sh --container`."""
import json
import os
import re
import shutil
import subprocess
import unittest

import yaml

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ["DENGWEN_BIN"]
PARTS = {"ops": "ops", "keyd": "keyd", "broker": "broker", "case": "casework", "notify": "notify",
         "desk": "desk", "web": "web"}


def read(path):
    with open(f"{SOURCE}/{path}", encoding="utf-8") as f:
        return f.read()


def compose():
    """Whichever there is: the plugin of docker, or the older program; neither needs an engine for this."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"],
                                                 capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tool = compose()
        if not cls.tool:
            raise AssertionError("neither docker compose nor docker-compose is here")
        done = cls.config("--profile", "job", "--profile", "several")
        cls.all = yaml.safe_load(done.stdout)
        cls.services = cls.all["services"]
        cls.programs = {n: s for n, s in cls.services.items() if s.get("user", "").startswith("dengwen-")}
        cls.dockerfile = read("conf/Dockerfile")

    @classmethod
    def config(cls, *profiles):
        done = subprocess.run([*cls.tool, "-f", f"{SOURCE}/docker-compose.yml", *profiles, "config"],
                              capture_output=True, text=True, cwd="/")
        if done.returncode != 0 or "WARN" in done.stderr.upper():
            raise AssertionError(f"{' '.join(cls.tool)} config: {done.returncode}\n{done.stderr}")
        return done

    def test_valid_with_and_without_profiles(self):
        self.config()  # or it raises
        self.assertEqual({n for n, s in self.services.items() if "profiles" in s}, {"case-2", "init", "admin"})
        self.assertEqual(set(self.services), set(PARTS) | {"case-2", "nginx", "mongo", "mongo-init", "init", "admin"})

    def test_every_program_has_a_container(self):
        said = subprocess.run([f"{BIN}/dengwen", "--help"], capture_output=True, text=True).stdout
        commands = set(re.findall(r"(?m)^  ([a-z-]+) ", said))
        started = re.search(r"programs started by run\n((?:  .*\n)+)", said).group(1)
        self.assertEqual(set(re.findall(r"(?m)^  ([a-z]+) ", started)), set(PARTS.values()))
        for service, program in PARTS.items():
            self.assertEqual(self.services[service]["command"], [program])
            self.assertIn(program, commands)

    def test_users(self):
        made = set(re.search(r"for part in ([a-z ]+); do \\\n\s+id=", self.dockerfile).group(1).split())
        self.assertEqual(made, set(PARTS))
        for part in made:
            self.assertRegex(read("conf/systemd/sysusers.conf"), rf"(?m)^u dengwen-{part} ")
        for name, s in self.programs.items():
            self.assertEqual(s["user"], f"dengwen-{name.removesuffix('-2')}:dengwen")

    def test_no_container_may_do_more(self):
        for name, s in self.services.items():
            self.assertEqual(s["cap_drop"], ["ALL"], name)
            self.assertTrue(s["read_only"], name)
            self.assertEqual(s["security_opt"], ["no-new-privileges:true"], name)
            self.assertFalse(s.get("privileged"), name)
            if "user" in s:
                self.assertNotIn("cap_add", s, name)
        for name, s in self.programs.items():
            self.assertEqual((s["ulimits"]["core"], s["ulimits"]["memlock"]), (0, 64 << 20), name)

    def volumes(self, name):
        """{target: (source, read only)}; the two programs print them differently."""
        found = {}
        for v in self.services[name].get("volumes", []):
            if isinstance(v, dict):
                found[v["target"]] = (v["source"], v.get("read_only", False))
            else:
                source, target, mode = (v.split(":") + ["rw"])[:3]
                found[target] = (source, mode == "ro")
        return found

    def test_own_state_and_nobody_elses(self):
        for name in self.programs:
            part, mounted = name.removesuffix("-2"), self.volumes(name)
            expected = {"/etc/dengwen", "/run/dengwen"} | ({f"/var/lib/dengwen/{part}"} - {"/var/lib/dengwen/ops"})
            self.assertEqual(set(mounted), expected, name)
            self.assertTrue(mounted["/etc/dengwen"][1], f"{name} could write settings and keys")
            if part != "ops":
                self.assertEqual(mounted[f"/var/lib/dengwen/{part}"][0].split("_")[-1], name)
        for name in self.services:
            if name not in ("init", "admin"):
                self.assertFalse({"/admin", "/offline", "/secrets"} & set(self.volumes(name)), name)

    def networks(self, name):
        return set(self.services[name].get("networks", {}))

    def test_networks(self):
        expected = {"ops": {"health"}, "case": {"store"}, "case-2": {"store"}, "notify": {"mail"},
                    "desk": {"front"}, "web": {"front"}, "nginx": {"front", "outside"}, "mongo": {"store"},
                    "mongo-init": {"store"}, "keyd": set(), "broker": set(), "init": set(), "admin": set()}
        for name, networks in expected.items():
            self.assertEqual(self.networks(name), networks, name)
            if not networks and name != "admin":
                self.assertEqual(self.services[name]["network_mode"], "none")
        self.assertTrue(all(self.all["networks"][n]["internal"] for n in ("front", "store")))
        for name in self.services:
            for port in self.services[name].get("ports", []):
                address = port["host_ip"] if isinstance(port, dict) else port.split(":")[0]
                target = port["target"] if isinstance(port, dict) else int(port.split(":")[-1].split("/")[0])
                self.assertEqual(address, "0.0.0.0" if target in (80, 443) else "127.0.0.1", f"{name} {port}")

    def test_nginx_finds_the_portals_and_they_trust_it(self):
        def address(name):
            return self.services[name]["networks"]["front"]["ipv4_address"]
        hosts = self.services["nginx"]["extra_hosts"]
        pairs = dict(h.replace("=", ":").split(":") for h in hosts) if isinstance(hosts, list) else hosts
        self.assertEqual({k: v if isinstance(v, str) else v[0] for k, v in pairs.items()},
                         {"web": address("web"), "desk": address("desk")})
        self.assertEqual(self.services["init"]["environment"]["FRONT_ADDRESS"], address("nginx"))
        job, upstreams = read("conf/containers/job.sh"), read("conf/nginx/upstreams-containers.conf")
        for part in ("web", "desk"):
            port = re.search(rf"{part}\.listen=0\.0\.0\.0:(\d+)", job).group(1)
            self.assertIn(f"server {part}:{port};", upstreams)
            self.assertIn(f'"{part}.trusted_proxies=$FRONT_ADDRESS"', job)
            self.assertIn(f":{port}/", " ".join(self.services[part]["healthcheck"]["test"]))
        self.assertIn("/readyz", " ".join(self.services["ops"]["healthcheck"]["test"]))

    def test_settings_exist(self):
        known, group = set(), ""
        for line in read("conf/dengwen.yaml").splitlines():
            if m := re.match(r"([a-z_]+):$", line):
                group = m.group(1)
            elif m := re.match(r"(  )?#?([a-z_0-9]+): ", line):
                known.add(f"{group}.{m.group(2)}" if m.group(1) else m.group(2))
        named = set(re.findall(r'--set "?([a-z_.]+)=', read("conf/containers/job.sh")))
        self.assertGreater(len(named), 10)
        self.assertEqual(named - known, set())
        for doc in ("conf/nginx/README.md", "conf/mongodb/README.md"):
            mentioned = set(re.findall(r"`((?:web|desk|store|case|broker|queue)\.[a-z_]+)`", read(doc)))
            self.assertEqual(mentioned - known, set(), doc)

    def test_what_the_dockerfile_copies_is_there(self):
        stages = set(re.findall(r"(?m)^FROM \S+ AS (\w+)$", self.dockerfile))
        self.assertEqual({s["build"]["target"] for s in self.services.values() if "build" in s}, stages - {"build"})
        for words in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", self.dockerfile):
            for path in words.split():
                self.assertTrue(os.path.exists(f"{SOURCE}/{path}"), path)
        groups = set(re.findall(r"packages-list\.sh (\w+)\)", self.dockerfile))
        self.assertEqual(groups, {"build", "run"})

    def test_secrets_are_files(self):
        text = json.dumps(self.services)
        for word in ("PASSWORD=", "PWD="):
            self.assertNotIn(word, text)
        made = set(re.findall(r"(?m)^    secret (\w+) ", read("conf/containers/job.sh"))) | {"mongo_keyfile"}
        self.assertEqual({os.path.basename(s["file"]) for s in self.all["secrets"].values()}, made)
        self.assertIn("/deployment/", read(".gitignore").split())
        self.assertIn("deployment", read(".dockerignore").split())

    def test_scripts_of_the_store_are_javascript(self):
        done = subprocess.run(["node", "--check", f"{SOURCE}/conf/mongodb/init.js"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
