// The plain pages in a real browser, as a reporter meets them.
//
//   node pages.mjs [FOLDER]     FOLDER: pictures of every page, in both languages and widths
//   DENGWEN_BIN                 folder of the built programs

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { after, before, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { Installation } from './installation.mjs';
import { launch, Visitor } from './browser.mjs';

const SHOTS = process.argv[2];
const RECEIPT = /^\d{4}(-\d{4}){5}$/;
const FACTS = {
  'zh-CN': '三月至六月，住院部每周二把没有住院的人登记为住院。\n第二行：<b>不是标记</b> & "引号"。',
  en: 'From March to June people were booked in as inpatients who never came.\n' +
      'Second line: <b>no markup</b> & "quotes".',
};

let installation, browser;
before(async () => {
  assert.ok(process.env.DENGWEN_BIN, 'DENGWEN_BIN: folder of the built programs');
  installation = await Installation.start(process.env.DENGWEN_BIN);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await installation?.stop();
});

// ---- things to send ----

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++)
      crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function pngPart(type, data) {
  const typed = Buffer.concat([Buffer.from(type), data]);
  const part = Buffer.alloc(8 + typed.length);
  part.writeUInt32BE(data.length, 0);
  typed.copy(part, 4);
  part.writeUInt32BE(crc32(typed), 4 + typed.length);
  return part;
}

// One grey pixel.
function png() {
  const head = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), pngPart('IHDR', head),
                        pngPart('IDAT', deflateSync(Buffer.from([0, 128]))),
                        pngPart('IEND', Buffer.alloc(0))]);
}

const evidence = () => [
  { name: '结算单 2026-03.png', mimeType: 'image/png', buffer: png() },
  { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('bed 12, 14, 15: empty\n') },
];

// A receipt whose check digits are right (ISO 7064 MOD 97-10) and that nobody was ever given.
function strangersReceipt() {
  const digits = Array.from({ length: 22 }, () => Math.floor(Math.random() * 10)).join('');
  const check = 98n - (BigInt(digits) * 100n) % 97n;
  return digits + String(check).padStart(2, '0');
}

// ---- steps ----

async function startAndSwitchLanguage(v) {
  await v.page.goto(`${v.origin}/`);
  assert.equal(await v.page.locator('html').getAttribute('lang'), 'zh-CN');
  if (v.en)
    await v.page.getByRole('link', { name: 'English' }).click();
  await v.look('start');
  assert.match(await v.page.title(), v.en ? /Complaints and reports/ : /投诉/);
  const leave = v.page.locator('a.leave');
  assert.match(await leave.getAttribute('href'), /^https:\/\//);
  assert.match(await leave.getAttribute('rel'), /noreferrer/);
}

async function openForm(v) {
  await v.page.getByRole('link', { name: v.say('举报欺诈骗保', 'Report fraud'), exact: true }).click();
  await v.look('form');
}

// The notice opens beside the form, so that nothing typed is lost.
async function privacy(v) {
  const opened = v.page.context().waitForEvent('page');
  await v.page.locator('form a[href^="/privacy"]').click();
  const notice = await opened;
  await notice.waitForLoadState();
  assert.match(await notice.title(), v.en ? /Privacy notice/ : /隐私说明/);
  assert.ok(await notice.locator('h2').count() >= 5);
  assert.match(await notice.locator('main').innerText(), /《个人信息保护法》/);
  await notice.close();
}

// The other page in the other language and back: each link leads to the same page.
async function languageOfForm(v) {
  await v.page.locator('a.language').click();
  assert.equal(await v.page.locator('html').getAttribute('lang'), v.en ? 'zh-CN' : 'en');
  assert.equal(new URL(v.page.url()).pathname, '/file');
  await v.page.locator('a.language').click();
  assert.equal(await v.page.locator('html').getAttribute('lang'), v.view.language);
}

async function incompleteForm(v) {
  const { page } = v;
  await page.locator('[name="against.name"]').fill('Canary & Clinic');
  await page.locator('[name="against.district"]').selectOption('500103');
  await page.locator('summary').nth(1).click(); // the second group of acts is folded
  await page.locator('[name=acts][value=IN01]').check();
  await page.locator('[name=facts]').fill('too short');
  await page.locator('[name=amount_yuan]').fill('a lot');
  await page.locator('[name="identity.email"]').fill('no address');
  await page.locator('[name="notify.sms"]').check();
  assert.equal(await v.send(v.say('提交举报', 'Send the report')), 422);
  await v.look('form-incomplete');

  const alert = page.getByRole('alert');
  for (const field of ['against.type', 'facts', 'amount_yuan', 'identity.email', 'truthful'])
    assert.equal(await alert.locator(`a[href="#${field}"]`).count(), 1, `${field} is named`);
  assert.ok(await page.locator('#problem-facts').isVisible());
  // Each line leads to its field.
  await alert.locator('a[href="#facts"]').click();
  assert.equal(new URL(page.url()).hash, '#facts');
  // Nothing typed is lost.
  assert.equal(await page.locator('[name="against.name"]').inputValue(), 'Canary & Clinic');
  assert.equal(await page.locator('[name="against.district"]').inputValue(), '500103');
  assert.equal(await page.locator('[name=facts]').inputValue(), 'too short');
  assert.equal(await page.locator('[name=amount_yuan]').inputValue(), 'a lot');
  assert.equal(await page.locator('[name="identity.email"]').inputValue(), 'no address');
  assert.ok(await page.locator('[name=acts][value=IN01]').isChecked());
  assert.ok(await page.locator('[name=acts][value=IN01]').isVisible(), 'its group is open');
  assert.ok(await page.locator('[name="notify.sms"]').isChecked());
}

async function takeReceipt(v) {
  const receipt = await v.page.locator('#receipt').innerText();
  assert.match(receipt, RECEIPT);
  v.receipts.push(receipt);
  return receipt;
}

async function completeForm(v) {
  const { page } = v;
  await page.locator('[name="against.type"][value=hospital]').check();
  await page.locator('[name=facts]').fill(FACTS[v.view.language]);
  await page.locator('[name=amount_yuan]').fill('120,000');
  await page.locator('[name="when.from"]').fill('2026-03-01');
  await page.locator('[name="identity.email"]').fill('reporter@example.org');
  await page.locator('[name="identity.phone"]').fill('138 0013 8000');
  await page.locator('[name="notify.email"]').check();
  await page.locator('[name=truthful]').check();
  await page.locator('input[type=file]').setInputFiles(evidence());
  assert.equal(await v.send(v.say('提交举报', 'Send the report')), 200);
  const receipt = await takeReceipt(v);
  await v.look('receipt');
  return receipt;
}

// A wrong kind of file is told on the page, and nothing typed is lost.
async function wrongFile(v) {
  const { page } = v;
  await v.go('/file');
  await page.locator('[name="against.name"]').fill('Clinic of the wrong file');
  await page.locator('[name=facts]').fill(FACTS[v.view.language]);
  await page.locator('input[type=file]').setInputFiles(
    [{ name: 'program.exe', mimeType: 'application/octet-stream', buffer: Buffer.from('MZ\0\0') }]);
  const status = await v.send(v.say('提交举报', 'Send the report'));
  assert.ok(status === 415 || status === 422, `status ${status}`);
  await v.look('form-wrong-file');
  assert.ok(await page.getByRole('alert').isVisible());
  assert.equal(await page.locator('[name="against.name"]').inputValue(), 'Clinic of the wrong file');
}

const showButton = (v) => v.say('查询', 'Show');

async function ask(v, receipt) {
  await v.page.locator('#receipt').fill(receipt);
  return v.send(showButton(v));
}

// Until the case is stored; a moment, as a rule.
async function followStored(v, receipt) {
  for (let i = 0; i < 100; i++) {
    await v.go('/follow');
    assert.equal(await ask(v, receipt), 200);
    if (/CQ\d\d-/.test(await v.text()))
      return;
    await v.page.waitForTimeout(100);
  }
  assert.fail('the case was not stored in ten seconds');
}

async function followFromReceipt(v) {
  assert.equal(await v.send(v.say('查看进度', 'Follow it')), 200);
  await v.look('follow-at-once');
}

async function follow(v, receipt) {
  await v.go('/follow');
  await v.look('follow');
  await followStored(v, receipt);
  await v.look('case');
  const text = await v.text();
  assert.match(text, v.en ? /Reference/ : /编号/);
  assert.match(text, /2026|20\d\d-\d\d-\d\d/);
  await v.page.locator('.clocks summary').first().click();
  await v.look('case-due-explained');
}

async function reply(v) {
  const { page } = v;
  const sendWord = v.say('发送', 'Send');
  assert.equal(await v.send(sendWord), 422, 'an empty message is refused');
  await v.look('case-empty-message');
  await page.locator('#text').fill('x'.repeat(5001));
  assert.equal(await v.send(sendWord), 422, 'a message too long is refused');
  assert.equal((await page.locator('#text').inputValue()).length, 5001, 'and not lost');
  await page.locator('#text').fill(FACTS[v.view.language]);
  assert.equal(await v.send(sendWord), 200);
  await v.look('case-replied');
  const own = await page.locator('.message.own').last().innerText();
  for (const line of FACTS[v.view.language].split('\n'))
    assert.ok(own.includes(line), `the message shows: ${line}`);
  assert.equal(await page.locator('.message b').count(), 0, 'markup is text');
  assert.equal(await page.locator('#text').inputValue(), '', 'what was sent is not offered again');
}

async function withdraw(v) {
  const { page } = v;
  const word = v.say('撤回', 'Withdraw');
  await page.locator('.withdraw summary').click();
  assert.equal(await v.send(word), 422, 'without the tick nothing happens');
  await v.look('case-withdraw-without-tick');
  assert.doesNotMatch(await page.locator('.state strong').innerText(), /撤回|Withdrawn/i);
  await page.locator('[name=sure]').check();
  assert.equal(await v.send(word), 200);
  await v.look('case-withdrawn');
  assert.match(await page.locator('.state strong').innerText(), /撤回|Withdrawn/i);
  assert.equal(await page.locator('form').count(), 0, 'nothing more can be sent');
}

async function wrongReceipts(v) {
  await v.go('/follow');
  assert.equal(await ask(v, '1234-5678'), 422);
  await v.look('follow-wrong-receipt');
  assert.equal(await v.page.locator('#receipt').inputValue(), '1234-5678');
  assert.equal(await ask(v, strangersReceipt()), 404);
  await v.look('follow-unknown-receipt');
  await v.page.locator('a.language').click();
  assert.equal(await v.page.locator('#receipt').inputValue(), '', 'no receipt behind a link');
}

async function complaint(v) {
  const { page } = v;
  await v.go('/');
  await page.getByRole('link', { name: v.say('投诉医保服务', 'Complain about a service') }).click();
  await v.look('complaint');
  await page.locator('[name="against.type"][value=agency]').check();
  await page.locator('[name="against.name"]').fill('Canary office');
  await page.locator('[name="against.district"]').selectOption('500108');
  await page.locator('[name=complaint]').first().check();
  await page.locator('[name=facts]').fill(FACTS[v.view.language]);
  assert.equal(await v.send(v.say('提交投诉', 'Send the complaint')), 422, 'not confirmed as true');
  await v.look('complaint-incomplete');
  assert.ok(await page.locator('[name=complaint]').first().isChecked());
  await page.locator('[name=truthful]').check();
  assert.equal(await v.send(v.say('提交投诉', 'Send the complaint')), 200);
  await takeReceipt(v);
  await v.look('complaint-receipt');
}

// What is refused before any page is reached is told on a page too.
async function noPage(v) {
  const answer = await v.page.goto(`${v.origin}/nothing-here${v.en ? '?lang=en' : ''}`);
  assert.equal(answer.status(), 404);
  await v.look('no-page');
  assert.match(await v.text(), v.en ? /nothing at this address/ : /没有这个页面/);
}

// Keys alone: every field is reached by Tab, in the order of the page, and each is seen to be.
async function keyboard(v) {
  const { page } = v;
  await v.go('/follow');
  const reached = [];
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate(() => {
      const e = document.activeElement;
      return { name: e.id || e.className || e.tagName, outline: getComputedStyle(e).outlineStyle };
    }));
  }
  assert.deepEqual(reached.map((r) => r.name), ['portal', 'language', 'receipt', 'BUTTON', 'leave']);
  assert.ok(reached.every((r) => r.outline !== 'none'), 'the focus is seen');
}

// ---- everybody ----

for (const language of ['zh-CN', 'en'])
  for (const width of [320, 1280])
    for (const javaScript of [false, true])
      test(`${language}, ${width} px, script ${javaScript ? 'allowed' : 'off'}`, async (t) => {
        const view = { language, width, javaScript };
        const v = await Visitor.come(browser, installation.web, view, javaScript ? null : SHOTS);
        let receipt;
        const steps = [
          ['start page and language', () => startAndSwitchLanguage(v)],
          ['the form', () => openForm(v)],
          ['the form in the other language', () => languageOfForm(v)],
          ['the privacy notice', () => privacy(v)],
          ['an incomplete form loses nothing', () => incompleteForm(v)],
          ['a complete one with two files gives a receipt',
           async () => { receipt = await completeForm(v); }],
          ['follow from there', () => followFromReceipt(v)],
          ['follow with the receipt', () => follow(v, receipt)],
          ['reply', () => reply(v)],
          ['withdraw, with and without the tick', () => withdraw(v)],
          ['a wrong and an unknown receipt', () => wrongReceipts(v)],
          ['a complaint', () => complaint(v)],
          ['a wrong file', () => wrongFile(v)],
          ['a page that is not there', () => noPage(v)],
          ['keys alone', () => keyboard(v)],
        ];
        for (const [name, act] of steps)
          await t.test(name, act);
        await v.leave();
      });
