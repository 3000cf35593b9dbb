"""Certificates for the peers of one test, made by openssl."""
import re
import ssl
import subprocess


class Authority:
    """Whom a machine trusts, or does not; its files lie in a folder of the test."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = f"{folder}/{name}.crt"
        self.openssl("req", "-x509", "-subj", f"/CN={name}", "-addext", "keyUsage=keyCertSign",
                     "-keyout", f"{folder}/{name}.key", "-out", self.certificate)

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *words, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
                       check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def issue(self, who):
        """(certificate, key) of a server, for `who` as in subjectAltName."""
        path = f"{self.folder}/{self.name}-{re.sub('[^a-z0-9]', '-', who)}"
        self.openssl("req", "-x509", "-CA", self.certificate, "-CAkey", f"{self.folder}/{self.name}.key",
                     "-subj", "/CN=peer", "-addext", f"subjectAltName={who}",
                     "-addext", "basicConstraints=critical,CA:false",
                     "-keyout", f"{path}.key", "-out", f"{path}.crt")
        return f"{path}.crt", f"{path}.key"

    def context(self, who):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(who))
        return context
