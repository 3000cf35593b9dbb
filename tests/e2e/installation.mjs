// A real installation in a folder of its own: `dengwen init --demo`, then `dengwen run`.

import { spawn, execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const run = promisify(execFile);

// All at once, so that no two of them are the same.
async function freePorts(count) {
  const servers = [];
  for (let i = 0; i < count; i++) {
    const server = createServer();
    await new Promise((done, failed) => {
      server.once('error', failed);
      server.listen(0, '127.0.0.1', done);
    });
    servers.push(server);
  }
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

async function isReady(address) {
  try {
    const answer = await fetch(`${address}/readyz`);
    return answer.ok;
  } catch {
    return false;
  }
}

export class Installation {
  // `programs`: the folder of the built programs.
  static async start(programs) {
    const self = new Installation();
    const [web, desk, ops] = await freePorts(3);
    const dengwen = join(programs, 'dengwen');
    self.folder = await mkdtemp(join(tmpdir(), 'dw-e2e-'));
    self.web = `http://127.0.0.1:${web}`;
    self.desk = `http://127.0.0.1:${desk}`;
    self.ops = `http://127.0.0.1:${ops}`;
    self.log = join(self.folder, 'run.log');
    const settings = [`web.listen=127.0.0.1:${web}`, `desk.listen=127.0.0.1:${desk}`,
                      `ops.listen=127.0.0.1:${ops}`, 'broker.bind='];
    await run(dengwen, ['init', '--demo', ...settings.flatMap((s) => ['--set', s]), self.folder]);
    const log = await open(self.log, 'w');
    self.process = spawn(dengwen, ['run', '-c', join(self.folder, 'dengwen.yaml')],
                         { stdio: ['ignore', log.fd, log.fd] });
    self.ended = new Promise((done) => self.process.once('exit', done));
    await log.close();
    await self.waitReady();
    return self;
  }

  async waitReady() {
    const end = Date.now() + 60000;
    while (!(await isReady(this.ops))) {
      if (Date.now() > end || this.process.exitCode !== null) {
        const said = await readFile(this.log, 'utf8');
        await this.stop();
        throw new Error(`the installation does not get ready:\n${said.slice(-3000)}`);
      }
      await sleep(100);
    }
  }

  async stop() {
    if (this.process.exitCode === null)
      this.process.kill('SIGTERM');
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }
}
