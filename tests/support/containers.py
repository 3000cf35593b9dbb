#!/usr/bin/python3
"""What conf/Dockerfile and docker-compose.yml say, done without a container engine.

    with Host(folder, tarball, checkout) as host:
        host.build("run", "front")          # the stages of the Dockerfile, in a Debian each
        host.up("ops", "keyd", ...)         # services, each in namespaces of its own
        host.job("init")                    # to its end; the finished process

A service gets what the file gives it: user, capabilities, read-only root, volumes, secrets, limits,
addresses in its networks and nothing outside of them.  What is not done: pids_limit, restart, ports of
the host, a way out of networks that are not internal.

Needs root, and to run in mount and process namespaces of its own (unshare --mount --pid --fork): what
it mounts and starts then ends with it."""
import ctypes
import ipaddress
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import yaml

COMPOSE = ["docker-compose", "--profile", "job", "--profile", "several"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*words, **more):
    return subprocess.run(words, check=True, **more)


def instructions(path):
    """(word, rest) of a Dockerfile, continued lines joined."""
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"\\\n", "", "".join(line for line in f if not line.startswith("#")))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


class Image:
    def __init__(self, root):
        self.root, self.workdir, self.user, self.entrypoint, self.command = root, "/", None, [], []


class Host:
    def __init__(self, folder, tarball, checkout, settings=None):
        self.folder, self.tarball, self.checkout = folder, tarball, checkout
        self.images, self.processes = {}, {}
        environment = dict(os.environ, DEPLOYMENT=f"{folder}/deployment", **(settings or {}))
        done = run(*COMPOSE, "-f", f"{checkout}/docker-compose.yml", "config", env=environment,
                   capture_output=True, text=True)
        self.file = yaml.safe_load(done.stdout)
        self.services = self.file["services"]

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        for name in self.processes if kind else ():
            print(f"--- {name}\n{self.log(name)[-1500:]}", flush=True)
        for name in list(self.processes):
            self.stop(name, signal.SIGKILL)

    # ---- the Dockerfile ----

    def build(self, *targets):
        image, stage = None, None
        wanted = set(targets) | {"build"}
        for word, rest in instructions(f"{self.checkout}/conf/Dockerfile"):
            if word == "FROM":
                base, stage = re.fullmatch(r"(\S+) AS (\w+)", rest).groups()
                if base != "debian:bookworm-slim":
                    raise AssertionError(f"this makes Debian 12 only, not {base}")
                image = None
                if stage in wanted:
                    image = self.images[stage] = self.new_image(stage)
            elif image:
                getattr(self, f"do_{word.lower()}")(image, rest)

    def new_image(self, stage):
        root = f"{self.folder}/image-{stage}"
        os.mkdir(root)
        run("tar", "-C", root, "-xf", self.tarball)
        shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
        certificates = "/usr/local/share/ca-certificates"
        if os.path.isdir(certificates):
            shutil.copytree(certificates, root + certificates, dirs_exist_ok=True)
        proxies = run("apt-config", "dump", capture_output=True, text=True).stdout
        with open(f"{root}/etc/apt/apt.conf.d/80proxy", "w") as f:
            f.writelines(line + "\n" for line in proxies.splitlines()
                         if re.match(r"Acquire::(https?::)?.*Proxy", line, re.I))
        with open(f"{root}/usr/sbin/policy-rc.d", "w") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(f"{root}/usr/sbin/policy-rc.d", 0o755)
        return Image(root)

    def do_workdir(self, image, rest):
        image.workdir = rest
        os.makedirs(image.root + rest, exist_ok=True)

    def do_copy(self, image, rest):
        words = rest.split()
        base = self.checkout
        if words[0].startswith("--from="):
            base = self.images[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        place = image.root + os.path.normpath(os.path.join(image.workdir, target))
        for source in sources:
            source = f"{base}/{source}"
            if os.path.isdir(source):  # what is in it, as the engines do
                os.makedirs(place, exist_ok=True)
                run("cp", "-a", "--no-preserve=ownership", f"{source}/.", place)
            else:
                into = place if target.endswith("/") or target == "." else os.path.dirname(place)
                os.makedirs(into, exist_ok=True)
                run("cp", "-a", "--no-preserve=ownership", source, place)

    def do_run(self, image, rest):
        print(f"  RUN {rest[:96]}", flush=True)
        log = f"{self.folder}/build.log"
        script = (f"set -e; mount -t proc proc {image.root}/proc; mount --rbind /dev {image.root}/dev; "
                  f"exec chroot {image.root} /bin/sh -c {shlex.quote(f'cd {image.workdir}; {rest}')}")
        keep = {k: os.environ[k] for k in ("http_proxy", "https_proxy", "no_proxy", "CMAKE_BUILD_PARALLEL_LEVEL")
                if k in os.environ}
        with open(log, "ab") as out:
            done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
                                  stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                  env={"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root", **keep})
        if done.returncode != 0:
            with open(log, errors="replace") as f:
                raise AssertionError(f"RUN {rest}\nended with {done.returncode}:\n{f.read()[-3000:]}")

    def do_user(self, image, rest):
        image.user = rest

    def do_entrypoint(self, image, rest):
        image.entrypoint = json.loads(rest)

    def do_cmd(self, image, rest):
        image.command = json.loads(rest)

    # ---- networks ----

    def make_networks(self):
        """Apart from this machine's from here on; images are built before, with a way out."""
        if ctypes.CDLL(None).unshare(0x40000000) != 0:  # CLONE_NEWNET
            raise AssertionError("no network namespace can be made here")
        os.makedirs("/run/netns", exist_ok=True)
        run("mount", "-t", "tmpfs", "netns", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        self.addresses, self.nets = {}, {}
        for n, (name, net) in enumerate(sorted(self.file["networks"].items())):
            config = ((net or {}).get("ipam") or {}).get("config")
            subnet = ipaddress.ip_network(config[0]["subnet"] if config else f"172.29.{n}.0/24")
            self.nets[name] = subnet
            run("ip", "link", "add", f"br-{name}", "type", "bridge")
            run("ip", "addr", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", f"br-{name}")
            run("ip", "link", "set", f"br-{name}", "up")

    def make_namespace(self, service):
        s, namespace = self.services[service], f"dw-{service}"
        if s.get("network_mode", "").startswith("service:"):
            return "dw-" + s["network_mode"].removeprefix("service:")
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        for key, value in (s.get("sysctls") or {}).items():
            run("ip", "netns", "exec", namespace, "sysctl", "-qw", f"{key}={value}")
        names = list(self.services)
        for n, (net, more) in enumerate((s.get("networks") or {}).items()):
            subnet = self.nets[net]
            address = (more or {}).get("ipv4_address") or str(subnet[100 + names.index(service)])
            self.addresses.setdefault(net, {})[service] = address
            inside, out = f"eth{n}", f"v{names.index(service)}-{n}"
            run("ip", "link", "add", out, "type", "veth", "peer", "name", inside, "netns", namespace)
            run("ip", "link", "set", out, "master", f"br-{net}", "up")
            run("ip", "-n", namespace, "addr", "add", f"{address}/{subnet.prefixlen}", "dev", inside)
            run("ip", "-n", namespace, "link", "set", inside, "up")
        return namespace

    def address(self, service, net):
        return self.addresses[net][service]

    def hosts_of(self, service):
        """/etc/hosts: who shares a network, and extra_hosts."""
        lines = ["127.0.0.1 localhost"]
        for net in self.services[service].get("networks") or {}:
            lines += [f"{a} {name}" for name, a in self.addresses[net].items()]
        extra = self.services[service].get("extra_hosts") or []
        lines += [" ".join(reversed(line.split(":"))) for line in extra]
        return "\n".join(lines) + "\n"

    # ---- containers ----

    def volume(self, source, root, target):
        if source.startswith("/"):
            os.makedirs(source, exist_ok=True)
            return source
        path = f"{self.folder}/volumes/{source}"
        if not os.path.isdir(path):  # a new one begins as what the image has there
            os.makedirs(path)
            if os.path.isdir(root + target):
                run("cp", "-a", f"{root}{target}/.", path)
                shutil.copystat(root + target, path)
                st = os.stat(root + target)
                os.chown(path, st.st_uid, st.st_gid)
        return path

    def script(self, service, words):
        """What puts a container together, and becomes it."""
        s = self.services[service]
        image = self.images["front" if s["image"].startswith("dengwen-front") else "run"]
        merged = f"{self.folder}/run-{service}"
        os.makedirs(merged, exist_ok=True)
        layer = f"{self.folder}/layer-{service}"
        os.makedirs(layer, exist_ok=True)
        out = ["set -e", "mount --make-rprivate /", f"mount -t tmpfs -o mode=755 layer {layer}",
               f"mkdir {layer}/upper {layer}/work",
               f"mount -t overlay -o lowerdir={image.root},upperdir={layer}/upper,workdir={layer}/work "
               f"overlay {merged}"]

        def need(path, folder=True):  # mount points are made in the container's own layer
            out.append(f"mkdir -p {merged}{path if folder else os.path.dirname(path)}")
            if not folder:
                out.append(f"touch {merged}{path}")

        volumes = [v.split(":") for v in s.get("volumes", [])]
        for source, target, mode in sorted(volumes, key=lambda v: v[1]):
            need(target)
            out.append(f"mount --bind {self.volume(source, image.root, target)} {merged}{target}")
            if mode == "ro":
                out.append(f"mount -o remount,bind,ro {merged}{target}")
        for secret in s.get("secrets", []):
            name = secret["source"]
            need(f"/run/secrets/{name}", folder=False)
            out.append(f"mount --bind {self.file['secrets'][name]['file']} {merged}/run/secrets/{name}")
        for target in s.get("tmpfs", []):
            out.append(f"mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs {merged}{target}")
        need("/etc/hosts", folder=False)
        hosts = f"{self.folder}/hosts-{service}"
        with open(hosts, "w") as f:
            f.write(self.hosts_of(service))
        out += [f"mount --bind {hosts} {merged}/etc/hosts", f"mount -t proc proc {merged}/proc",
                f"mount -t tmpfs -o mode=755 dev {merged}/dev"]
        for device in ("null", "zero", "full", "random", "urandom"):
            out.append(f"touch {merged}/dev/{device}; mount --bind /dev/{device} {merged}/dev/{device}")
        out += [f"ln -s /proc/self/fd {merged}/dev/fd", f"ln -s /proc/self/fd/2 {merged}/dev/stderr",
                f"mkdir {merged}/dev/shm", f"mount -t tmpfs -o mode=1777 shm {merged}/dev/shm"]
        if s.get("read_only"):
            out.append(f"mount -o remount,bind,ro {merged}")
        limits = s.get("ulimits", {})
        for key, letter, unit in (("core", "c", 1), ("nofile", "n", 1), ("memlock", "l", 1024)):
            if key in limits:  # or less, where this machine allows less
                out.append(f"ulimit -{letter} {limits[key] // unit} 2>/dev/null || ulimit -S -{letter} $(ulimit -H -{letter})")
        user, _, group = str(s.get("user", image.user or "root")).partition(":")
        bounding = "-all" + "".join(f",+{c.lower()}" for c in s.get("cap_add", []))
        who = [f"--reuid={user}", f"--regid={group}"] if user != "root" else ["--reuid=0", "--regid=0"]
        setpriv = ["setpriv", *who, "--clear-groups", "--no-new-privs", f"--bounding-set={bounding}",
                   "--inh-caps=-all", "--"]
        environment = {"PATH": PATH, "HOME": "/", **{k: str(v) for k, v in (s.get("environment") or {}).items()}}
        pairs = [f"{k}={v}" for k, v in environment.items()]
        out.append(shlex.join(["exec", "env", "-i", *pairs, "chroot", merged, *setpriv, *words]))
        return "\n".join(out)

    def begin(self, service, words, out):
        s = self.services[service]
        image = self.images["front" if s["image"].startswith("dengwen-front") else "run"]
        entry = s.get("entrypoint") or image.entrypoint
        command = words or s.get("command") or ([] if s.get("entrypoint") else image.command)
        namespace = f"dw-{service}"
        if not os.path.exists(f"/run/netns/{namespace}"):
            namespace = self.make_namespace(service)
        script = self.script(service, [*entry, *command])
        return subprocess.Popen(["ip", "netns", "exec", namespace, "unshare", "--mount", "--pid", "--ipc",
                                 "--uts", "--fork", "--kill-child", "sh", "-c", script],
                                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def log(self, service):
        with open(f"{self.folder}/{service}.log", errors="replace") as f:
            return f.read()

    def up(self, *services):
        for service in services:  # all addresses first: names are written down once
            if not os.path.exists(f"/run/netns/dw-{service}"):
                self.make_namespace(service)
        for service in services:
            with open(f"{self.folder}/{service}.log", "ab") as out:
                self.processes[service] = self.begin(service, [], out)

    def job(self, service, *words):
        """Its output; what ends with another code than 0 is an error."""
        process = self.begin(service, list(words), subprocess.PIPE)
        said = process.communicate(timeout=300)[0].decode()
        if process.returncode != 0:
            raise AssertionError(f"{service} {' '.join(words)} ended with {process.returncode}:\n{said}")
        return said

    def pid(self, service):
        """Of the container's first process, as seen from here: below ip, which becomes unshare."""
        pid = self.processes[service].pid
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return int(f.read().split()[0])

    def healthy(self, service):
        """The check of the file, beside its container."""
        test = self.services[service]["healthcheck"]["test"]
        return subprocess.run(["ip", "netns", "exec", f"dw-{service}", *test[1:]], capture_output=True,
                              text=True).returncode == 0

    def stop(self, service, how=signal.SIGTERM):
        process = self.processes[service]
        try:
            os.kill(self.pid(service), how)
        except (OSError, IndexError):
            process.kill()
        del self.processes[service]
        return process.wait(timeout=60)

    def wait(self, seconds, ready, what):
        end = time.monotonic() + seconds
        while not ready():
            for service, process in self.processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"{service} ended with {process.returncode}:\n{self.log(service)[-2000:]}")
            if time.monotonic() > end:
                logs = "\n".join(f"--- {s}\n{self.log(s)[-600:]}" for s in self.processes)
                raise AssertionError(f"{what}: not within {seconds} seconds\n{logs}")
            time.sleep(0.2)
