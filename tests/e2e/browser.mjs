// A browser as a reporter has one, and what must hold for every page it shows.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
               '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export function launch() {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
}

// Runs in the page.  Returns what is wrong with it, in words.
function lookForFaults(receiptWords) {
  const faults = [];
  const name = (e) => `${e.tagName.toLowerCase()} ${e.id || e.name || e.textContent.trim()}`;
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth)
    faults.push(`scrolls sideways: ${root.scrollWidth} > ${window.innerWidth}`);
  for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
    const words = [...(field.labels || [])].map((l) => l.textContent.trim()).join(' ');
    if (!words && !field.getAttribute('aria-label'))
      faults.push(`${name(field)} has no label`);
    if (field.type === 'radio' && !field.closest('fieldset')?.querySelector('legend'))
      faults.push(`${name(field)} stands in no fieldset with a legend`);
    for (const id of (field.getAttribute('aria-describedby') || '').split(' ').filter(Boolean))
      if (!document.getElementById(id))
        faults.push(`${name(field)} is described by #${id}, which is not there`);
  }
  for (const label of document.querySelectorAll('label'))
    if (!label.control)
      faults.push(`label "${label.textContent.trim()}" belongs to no field`);
  for (const button of document.querySelectorAll('button, a'))
    if (!button.textContent.trim())
      faults.push(`${name(button)} says nothing`);
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(decodeURIComponent(link.getAttribute('href').slice(1))))
      faults.push(`link to ${link.getAttribute('href')} leads nowhere`);
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i)))
    faults.push(`id ${id} stands here twice`);
  // In English what is Chinese must say so; Chinese has its own commas, colons and brackets.
  const all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = all.nextNode(); node; node = all.nextNode()) {
    const text = node.data;
    if (node.parentElement.closest('[lang]').lang === 'en' && /[\u4e00-\u9fff]/.test(text))
      faults.push(`not English: ${text}`);
    if (/[\u4e00-\u9fff][,:;?!()]|[,:;?!()][\u4e00-\u9fff]/.test(text))
      faults.push(`Western punctuation: ${text}`);
  }
  if (document.querySelectorAll('h1').length !== 1)
    faults.push('not exactly one h1');
  if (document.scripts.length)
    faults.push('there is a script');
  const addresses = [...document.querySelectorAll('[href], [action], [src]')].flatMap((e) =>
    ['href', 'action', 'src'].map((a) => e.getAttribute(a)).filter(Boolean));
  for (const address of addresses)
    if (receiptWords.some((w) => address.includes(w)))
      faults.push(`the receipt stands in an address: ${address}`);
  return faults;
}

export class Visitor {
  // `view`: { width, javaScript, language }; `shots`: a folder for pictures, or nothing.
  static async come(browser, origin, view, shots) {
    const self = new Visitor();
    self.context = await browser.newContext({
      viewport: { width: view.width, height: view.width < 500 ? 640 : 900 },
      javaScriptEnabled: view.javaScript,
      locale: view.language,
    });
    Object.assign(self, { origin, view, shots, receipts: [], strangers: [], complaints: [] });
    self.page = await self.context.newPage();
    self.page.setDefaultTimeout(15000);
    self.context.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`))
        self.strangers.push(url);
    });
    self.page.on('console', (message) => {
      // The browser itself notes an answer of 4xx to a form; that is how it should be answered.
      const ours = message.text().startsWith('Failed to load resource') &&
                   message.location().url === self.page.url();
      if (['error', 'warning'].includes(message.type()) && !ours)
        self.complaints.push(`${message.type()}: ${message.text()}`);
    });
    self.page.on('pageerror', (error) => self.complaints.push(String(error)));
    return self;
  }

  get en() {
    return this.view.language === 'en';
  }

  // A word of the page, by its language.
  say(zh, en) {
    return this.en ? en : zh;
  }

  go(path) {
    const query = path.includes('?') ? '&lang=en' : '?lang=en';
    return this.page.goto(this.origin + path + (this.en ? query : ''));
  }

  // Sends the form of this button and returns the status of the answer.
  async send(button) {
    const [answer] = await Promise.all([
      this.page.waitForNavigation(),
      this.page.getByRole('button', { name: button, exact: true }).click(),
    ]);
    return answer.status();
  }

  text() {
    return this.page.locator('main').innerText();
  }

  // Looks at the page as it stands; `name` is for messages and for the picture.
  async look(name) {
    const { page, view } = this;
    const at = `${name}, ${view.language}, ${view.width} px`;
    const words = this.receipts.flatMap((r) => [r, r.replaceAll('-', '')]);
    await this.picture(name);
    assert.deepEqual(await page.evaluate(lookForFaults, words), [], at);
    assert.equal(await page.locator('html').getAttribute('lang'), view.language, at);
    assert.deepEqual(this.strangers.splice(0), [], `${at}: requests to other origins`);
    assert.deepEqual([...new Set(this.complaints.splice(0))], [], `${at}: the browser complains`);
    assert.deepEqual(await this.context.cookies(), [], `${at}: cookies`);
    for (const word of words)
      assert.ok(!page.url().includes(word), `${at}: the receipt is in the address`);
  }

  async picture(name) {
    if (!this.shots)
      return;
    await mkdir(this.shots, { recursive: true });
    const file = `${name}-${this.view.language}-${this.view.width}.png`;
    await this.page.screenshot({ path: join(this.shots, file), fullPage: true });
  }

  leave() {
    return this.context.close();
  }
}
