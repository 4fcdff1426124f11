// What the JavaScript interop tests share: a runner that prints "ok NAME" or
// "not ok NAME reason", and the connection strings from the environment.
import assert from 'node:assert/strict';

export const cs = process.env.SLUICE_CS;
export const plainCs = process.env.SLUICE_CS_PLAIN;
export const sendOnlyCs = process.env.SLUICE_CS_SEND;
export { assert };

let failed = 0;

export async function test(name, fn, limitMs = 45000) {
  let timer;
  try {
    await Promise.race([
      fn(),
      new Promise((_, no) => { timer = setTimeout(() => no(new Error(`not done after ${limitMs} ms`)), limitMs); }),
    ]);
    console.log(`ok ${name}`);
  } catch (e) {
    failed++;
    const text = `${e.name}/${e.code ?? ''} ${e.message}`.replaceAll('\n', ' ').slice(0, 400);
    console.log(`not ok ${name} ${text}`);
    if (e.stack) console.error(e.stack);
  } finally {
    clearTimeout(timer);
  }
}

export function finish() {
  process.exit(failed ? 1 : 0);
}

// A failure shows at once instead of after three pauses of 30 s.
export const once = { retryOptions: { maxRetries: 0, timeoutInMs: 15000 } };

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// The error a client operation ends with; the SDK wraps retried ones.
export async function failure(promise) {
  try {
    await promise;
  } catch (e) {
    return e.errors ? e.errors[0] : e;
  }
  throw new Error('succeeded, but must fail');
}

// Reads `n` events of one partition from `position`.
export async function read(client, partition, position, n, extra = {}, waitMs = 20000) {
  const got = [];
  let sub;
  await new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`read ${got.length} of ${n} events`)), waitMs);
    sub = client.subscribe(partition, {
      processEvents: async (events) => {
        got.push(...events);
        if (got.length >= n) { clearTimeout(timer); done(); }
      },
      processError: async (e) => { clearTimeout(timer); fail(e); },
    }, { startPosition: position, maxWaitTimeInSeconds: 1, maxBatchSize: 50, ...extra });
  }).finally(() => sub.close());
  return got;
}
