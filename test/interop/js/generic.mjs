// A generic AMQP 1.0 client (rhea): SASL PLAIN, every AMQP type unchanged,
// errors in the protocol's own terms, garbage on the ports.
import rhea from 'rhea';
import net from 'node:net';
import tls from 'node:tls';
import fs from 'node:fs';
import { test, finish, assert, sleep } from './lib.mjs';

const [host, port] = process.env.AMQPS.split(':');
const ca = fs.readFileSync(process.env.SLUICE_CA);
const user = 'RootManageSharedAccessKey';
const key = process.env.SLUICE_KEY;
const hub = 'js-generic';

function connect(options = {}) {
  const container = rhea.create_container();
  return new Promise((done, fail) => {
    container.on('connection_open', (c) => done(c.connection));
    container.on('connection_close', (c) => fail(c.connection.error ?? new Error('closed')));
    container.on('connection_error', (c) => fail(c.connection.error ?? new Error('error')));
    container.on('disconnected', (c) => fail(c.error ?? new Error('disconnected')));
    container.connect({ host, port, transport: 'tls', ca, servername: 'localhost', username: user, password: key,
      reconnect: false, ...options });
  });
}

function sender(connection, target, options = {}) {
  return new Promise((done, fail) => {
    const s = connection.open_sender({ target: { address: target }, ...options });
    s.once('sendable', () => done(s));
    s.once('sender_error', () => fail(s.error));
    s.once('sender_close', () => fail(s.error ?? new Error('detached')));
  });
}

function sent(s, message, tag, format) {
  return new Promise((done, fail) => {
    const d = s.send(message, tag, format);
    const settle = (ok) => (c) => { if (c.delivery === d) ok(c); };
    s.on('accepted', settle(done));
    s.on('rejected', settle((c) => fail(Object.assign(new Error(c.delivery.remote_state.error?.description), { condition: c.delivery.remote_state.error?.condition }))));
    s.on('released', settle(() => fail(new Error('released'))));
  });
}

function receive(connection, source, n, filter) {
  return new Promise((done, fail) => {
    const got = [];
    const r = connection.open_receiver({ source: { address: source, filter }, credit_window: 100 });
    r.on('message', (c) => { got.push(c.message); if (got.length === n) { r.close(); done(got); } });
    r.once('receiver_error', () => fail(r.error));
    setTimeout(() => fail(new Error(`${got.length} of ${n} messages`)), 15000);
  });
}

const t = rhea.types;
const connection = await connect();

await test('SASL PLAIN with policy and key', async () => {
  const s = await sender(connection, `${hub}/Partitions/0`);
  await sent(s, { body: 'hello' });
});

await test('SASL PLAIN with a wrong key is refused', async () => {
  await assert.rejects(connect({ password: 'nonsense' }));
});

await test('every AMQP type comes back unchanged', async () => {
  const s = await sender(connection, `${hub}/Partitions/1`);
  const props = {
    nul: null, yes: true, ubyte: t.wrap_ubyte(200), ushort: t.wrap_ushort(60000), uint: t.wrap_uint(4000000000),
    ulong: t.wrap_ulong(2 ** 50), byte: t.wrap_byte(-100), short: t.wrap_short(-30000), int: t.wrap_int(-2000000000),
    long: t.wrap_long(-(2 ** 50)), float: t.wrap_float(1.5), double: t.wrap_double(Math.PI),
    ts: t.wrap_timestamp(1700000000123), uuid: t.wrap_uuid(Buffer.from('00112233445566778899aabbccddeeff', 'hex')),
    bin: t.wrap_binary(Buffer.from([1, 2, 3])), sym: t.wrap_symbol('symbol'), str: 'text ü €',
    described: t.wrap_described('2024-01-01', t.wrap_symbol('com.microsoft:datetime-offset')),
  };
  const raw = {
    durable: true, priority: 7, ttl: 60000,
    message_annotations: { 'x-mine': 5, 'x-opt-mine': 'kept' },
    message_id: t.wrap_uuid(Buffer.alloc(16, 7)), user_id: Buffer.from('me'), subject: 's', correlation_id: t.wrap_ulong(9),
    group_id: 'g', group_sequence: 3, reply_to_group_id: 'r', creation_time: new Date(1600000000000),
    application_properties: props,
    body: t.wrap_list([t.wrap_long(1), t.wrap_map({ a: t.wrap_array([1, 2, 3], 0x54) }), t.wrap_char ? t.wrap_char(0x1F600) : null]),
    footer: { f: 1 },
  };
  await sent(s, raw);
  const [m] = await receive(connection, `${hub}/ConsumerGroups/$Default/Partitions/1`, 1);
  const wire = (v) => rhea.message.encode(v).toString('hex');
  const pick = (x) => ({ ...x, message_annotations: { ...x.message_annotations }, delivery_annotations: undefined });
  const back = pick(m);
  for (const k of ['x-opt-sequence-number', 'x-opt-offset', 'x-opt-enqueued-time']) {
    assert.ok(k in back.message_annotations, k);
    delete back.message_annotations[k];
  }
  const want = rhea.message.decode(rhea.message.encode(raw));
  assert.equal(wire(back), wire(pick(want)));
});

await test('body kinds: several data sections, sequence, value', async () => {
  const s = await sender(connection, `${hub}/Partitions/2`);
  await sent(s, { body: rhea.message.data_sections([Buffer.from('a'), Buffer.from('b')]) });
  await sent(s, { body: rhea.message.sequence_sections([[1, 2], [3]]) });
  await sent(s, { body: t.wrap_ulong(5) });
  const got = await receive(connection, `${hub}/ConsumerGroups/$Default/Partitions/2`, 3);
  assert.equal(got[0].body.multiple, true);
  assert.equal(got[1].body.typecode, 0x76);
  assert.equal(got[2].body, 5);
});

await test('unknown hub is amqp:not-found', async () => {
  await assert.rejects(sender(connection, 'nowhere'), (e) => e.condition === 'amqp:not-found' && /could not be found/.test(e.description) && /TrackingId:/.test(e.description));
});

await test('an oversized event is rejected, the link stays', async () => {
  const s = await sender(connection, `${hub}/Partitions/0`);
  await assert.rejects(sent(s, { body: rhea.message.data_section(Buffer.alloc(1200000)) }),
    (e) => e.condition === 'amqp:link:message-size-exceeded');
  await sent(s, { body: 'after' });
});

await test('bytes that are no message are rejected, the link stays', async () => {
  const s = await sender(connection, `${hub}/Partitions/0`);
  await assert.rejects(sent(s, Buffer.from('this is not AMQP'), undefined, 0),
    (e) => e.condition === 'amqp:decode-error');
  await sent(s, { body: 'after' });
});

await test('a bad filter is refused', async () => {
  const filter = { 'apache.org:selector-filter:string': t.wrap_described("amqp.annotation.x-opt-offset > 'abc'", 0x468C00000004) };
  await assert.rejects(receive(connection, `${hub}/ConsumerGroups/$Default/Partitions/0`, 1, filter),
    (e) => e.condition === 'com.microsoft:argument-error');
});

await test('nothing is allowed without authentication', async () => {
  const c = await connect({ username: 'anonymous', password: undefined });
  await assert.rejects(sender(c, hub), (e) => e.condition === 'amqp:unauthorized-access');
  c.close();
});

function talk(makeSocket, bytes) {
  return new Promise((done) => {
    const s = makeSocket();
    const got = [];
    s.on('data', (d) => got.push(d));
    s.on('error', () => done(Buffer.concat(got)));
    s.on('close', () => done(Buffer.concat(got)));
    if (bytes) s.write(bytes);
    setTimeout(() => s.destroy(), 5000);
  });
}

await test('garbage and half a handshake cost nobody anything', async () => {
  const tcp = () => net.connect(Number(port), host);
  const secure = () => tls.connect({ host, port, ca, servername: 'localhost' });
  const wrong = [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(5000, 0xff), Buffer.from('AMQP\x02\x01\x00\x00', 'latin1')];
  for (const w of wrong) {
    await talk(tcp, w);
    await talk(secure, w);
  }
  await talk(secure, Buffer.from('AMQP\0\x01\0\0' + '\0\0\0\x08\x01\0\0\0', 'latin1'));
  await talk(secure, Buffer.from('AMQP\0\x01\0\0' + '\xff\xff\xff\xff\x02\0\0\0', 'latin1'));
  const s = await sender(connection, `${hub}/Partitions/0`);
  await sent(s, { body: 'still here' });
});

await test('pre-settled events are stored', async () => {
  const s = await sender(connection, `${hub}/Partitions/3`, { snd_settle_mode: 1 });
  for (let i = 0; i < 20; i++) s.send({ body: i });
  const got = await receive(connection, `${hub}/ConsumerGroups/$Default/Partitions/3`, 20);
  assert.deepEqual(got.map((m) => m.body), Array.from({ length: 20 }, (_, i) => i));
});

connection.close();
await sleep(200);
finish();
