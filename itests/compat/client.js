// The gateway as a Node client sees it (@grpc/grpc-js).
//
// usage: node client.js DIRECTORY-OF-NODE_MODULES PROTO-DIRECTORY
// GATEWAY_ADDR is the gateway of three fresh instances; STACK, if set, the
// script that can kill an instance, and then there are four. The steps are the
// same as in client.py and client.go, and one more: the library comes again when
// a refusal says so. Prints TAP.

'use strict';

const { execFileSync } = require('child_process');
const { createRequire } = require('module');
const path = require('path');

const from = createRequire(path.resolve(process.argv[2]) + path.sep);
const grpc = from('@grpc/grpc-js');
const loader = from('@grpc/proto-loader');

const api = grpc.loadPackageDefinition(loader.loadSync('my_service.proto', {
  includeDirs: [process.argv[3]], keepCase: true, longs: Number,
  defaults: true,
})).my_service.MyServiceAPI;

const GATEWAY = process.env.GATEWAY_ADDR || 'localhost:10000';
const USERNAME = process.env.TEST_USERNAME || 'TestUser';
const PASSWORD = process.env.TEST_PASSWORD || 'TestPassword';
const STACK = process.env.STACK;
const TIMEOUT = 60000;
const VALUE = 'h\u00e9llo';
const code = grpc.status;

// Without the gateway's advice, a second or a quarter less, its four further
// tries would take no time.
const TRIES = 5;
const SHORTEST = 750;
const RETRY = JSON.stringify({ methodConfig: [{ name: [{}], retryPolicy: {
  maxAttempts: TRIES, initialBackoff: '0.01s', maxBackoff: '0.01s',
  backoffMultiplier: 1, retryableStatusCodes: ['RESOURCE_EXHAUSTED'],
} }] });

let checks = 0;
let failed = 0;

function check(holds, text) {
  checks++;
  failed += holds ? 0 : 1;
  console.log((holds ? 'ok - ' : 'not ok - ') + text);
  return holds;
}

function equal(got, want, text) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  return check(a === b, `${text}: got ${a}` + (a === b ? '' : `, want ${b}`));
}

// A session with a connection of its own.
class Client {
  constructor(label, options) {
    this.session =
        `compat-node-${label}-${process.hrtime.bigint()}-${process.pid}`;
    this.stub = new api(GATEWAY, grpc.credentials.createInsecure(),
        { 'grpc.use_local_subchannel_pool': 1, ...options });
    this.token = '';
    this.pod = '';
  }

  own() {
    return { authorization: this.token, 'session-id': this.session };
  }

  // { response, status }: the status comes in trailers
  unary(method, request, keys) {
    return new Promise((resolve) => {
      const metadata = new grpc.Metadata();
      for (const [key, value] of Object.entries(keys)) {
        metadata.set(key, value);
      }
      let response = null;
      this.stub[method](request, metadata,
          { deadline: Date.now() + TIMEOUT },
          (error, value) => { response = error ? null : value; })
          .on('status', (status) => setImmediate(() =>
            resolve({ response, status })));
    });
  }

  login(fields) {
    return this.unary('Login', { username: USERNAME, password: PASSWORD,
      session_id: this.session, ...fields }, {});
  }

  echo(keys) {
    return this.unary('MyServiceEcho', { value: VALUE }, keys || this.own());
  }

  shutdown() {
    return this.unary('MyServiceShutdown', {}, this.own());
  }

  subscribe(options, keys) {
    return new Stream(this, options || {}, keys || this.own());
  }
}

class Stream {
  constructor(client, options, keys) {
    const metadata = new grpc.Metadata();
    for (const [key, value] of Object.entries(keys)) {
      metadata.set(key, value);
    }
    this.messages = [];
    this.waiting = null;
    this.status = null;
    this.call = client.stub.MyServiceSubscribe({ value: VALUE }, metadata,
        options);
    this.call.on('data', (message) => this.put(message));
    this.call.on('error', () => {});
    this.call.on('status', (status) => {
      this.status = status;
      setImmediate(() => this.put(null));
    });
  }

  put(message) {
    this.messages.push(message);
    if (this.waiting !== null) {
      this.waiting();
      this.waiting = null;
    }
  }

  // the next message, or null at the end
  async next() {
    while (this.messages.length === 0) {
      await new Promise((resolve) => { this.waiting = resolve; });
    }
    return this.messages[0] === null ? null : this.messages.shift();
  }
}

function good(text, { response, status }) {
  equal([status.code, status.details], [code.OK, status.details], text);
  return status.code === code.OK ? response : null;
}

function expectStatus(text, status, want, message) {
  equal([status.code, status.details], [want, message], text);
  check(status.metadata instanceof grpc.Metadata,
      `${text}: trailers ${JSON.stringify(status.metadata.getMap())}`);
}

async function refused(text, call, want, message) {
  expectStatus(text, (await call).status, want, message);
}

async function signIn(label, options) {
  const client = new Client(label, options);
  const answer = good(`${label}: Login`, await client.login());
  if (answer === null) {
    process.exit(1);
  }
  check(answer.token !== '' && answer.role !== ''
        && answer.expires_at.seconds > Date.now() / 1000,
  `${label}: token, role ${answer.role}, expires_at `
        + answer.expires_at.seconds);
  client.token = answer.token;
  return client;
}

function fields(text, client, answer, method, index, pod) {
  if (answer === null) {
    return check(false, `${text}: no message`);
  }
  client.pod = answer.pod_name;
  return equal(
      [answer.client_value, answer.server_value, answer.server_session_id,
        answer.client_session_id, answer.index, answer.server_method,
        answer.pod_name],
      [VALUE, 'my_service', client.session, client.session, index, method,
        pod || answer.pod_name], text);
}

async function echo(client, pod, text, keys) {
  const what = text || 'Echo';
  return fields(what, client, good(what, await client.echo(keys)),
      'MyServiceEcho', 0, pod);
}

async function message(client, stream, index, pod) {
  return fields(`stream: message ${index}`, client, await stream.next(),
      'MyServiceSubscribe', index, pod);
}

async function loginErrors() {
  const client = new Client('login');
  await refused('Login without a username', client.login({ username: '' }),
      code.INVALID_ARGUMENT, 'username is required');
  await refused('Login with a wrong password',
      client.login({ password: 'wrong' }),
      code.PERMISSION_DENIED, 'invalid username or password');
  await refused('Login of an unknown user',
      client.login({ username: 'nobody' }),
      code.PERMISSION_DENIED, 'invalid username or password');
}

async function refusedStream(text, stream, want, expected) {
  check(await stream.next() === null, `${text}: no message`);
  expectStatus(text, stream.status, want, expected);
}

async function refusals(client) {
  const authorization = client.token;
  const cases = [
    ['neither header', {}, 'missing session-id'],
    ['token only', { authorization }, 'missing session-id'],
    ['session-id only', { 'session-id': client.session },
      'missing or invalid token'],
    ['malformed token',
      { 'session-id': client.session, authorization: 'a.b.c' },
      'missing or invalid token'],
    ['other session-id', { 'session-id': 'other', authorization },
      'session-id mismatch'],
  ];
  for (const [text, keys, want] of cases) {
    await refused(`${text}: Echo`, client.echo(keys), code.UNAUTHENTICATED,
        want);
    await refusedStream(`${text}: Subscribe`, client.subscribe({}, keys),
        code.UNAUTHENTICATED, want);
  }

  const raw = new grpc.Client(GATEWAY, grpc.credentials.createInsecure());
  const status = await new Promise((resolve) => {
    raw.makeUnaryRequest('/my_service.MyServiceAPI/NoSuchMethod', (m) => m,
        (m) => m, Buffer.alloc(0), () => {}).on('status', resolve);
  });
  raw.close();
  expectStatus('unknown method', status, code.UNIMPLEMENTED,
      'method not routed');
  await refused('Shutdown before any call', client.shutdown(),
      code.PERMISSION_DENIED, 'Server session is not set');
}

async function calls(client) {
  await echo(client, null, 'Echo 1 of 10');
  for (let n = 2; n <= 10; n++) {
    await echo(client, client.pod, `Echo ${n} of 10`);
  }
  await echo(client, client.pod, 'Echo with Bearer',
      { ...client.own(), authorization: `Bearer ${client.token}` });
}

async function streams(client) {
  const pod = client.pod;
  let stream = client.subscribe();
  for (let index = 0; index < 3; index++) {
    await message(client, stream, index, pod);
  }
  const answers = await Promise.all(Array.from({ length: 20 },
      () => client.echo()));
  equal([...new Set(answers.map((a) => a.response && a.response.pod_name))],
      [pod], 'twenty Echo at once beside the stream');
  stream.call.cancel();
  while (await stream.next() !== null) { /* until its end */ }
  equal(stream.status.code, code.CANCELLED, 'stream: cancelled');
  await echo(client, pod, 'Echo after the cancel');

  stream = client.subscribe({ deadline: Date.now() + 1000 });
  for (let index = 0, answer; (answer = await stream.next()); index++) {
    fields('stream with a deadline', client, answer, 'MyServiceSubscribe',
        index, pod);
  }
  equal(stream.status.code, code.DEADLINE_EXCEEDED, 'stream: deadline');
  await echo(client, pod, 'Echo after the deadline');
}

function kill(client) {
  execFileSync(STACK, ['kill', client.pod.split('-').pop()],
      { stdio: ['ignore', 2, 2] });
}

async function killed(client) {
  const old = client.pod;
  const stream = client.subscribe();
  await message(client, stream, 0, old);
  kill(client);
  let answer = await stream.next();
  for (let index = 1; answer !== null && answer.pod_name === old; index++) {
    fields('stream: sent before the kill', client, answer,
        'MyServiceSubscribe', index, old);
    answer = await stream.next();
  }
  fields('stream: goes on from another instance', client, answer,
      'MyServiceSubscribe', 0);
  check(client.pod !== old, `was ${old}, is ${client.pod}`);
  await message(client, stream, 1, client.pod);
  stream.call.cancel();
  await echo(client, client.pod, 'Echo on the new instance');
}

async function patient() {
  const client = await signIn('patient', { 'grpc.service_config': RETRY });
  const began = Date.now();
  await refused('a client that comes again', client.echo(),
      code.RESOURCE_EXHAUSTED, 'all instances are busy');
  const took = Date.now() - began;
  check(took >= (TRIES - 1) * SHORTEST,
      `it waited ${took} ms, ${SHORTEST} or more before each further try`);
}

async function busy(client) {
  const others = [await signIn('second'), await signIn('third')];
  for (const other of others) {
    await echo(other, null, 'Echo of another session');
  }
  const last = await signIn('last');
  await refused('no instance is free', last.echo(),
      code.RESOURCE_EXHAUSTED, 'all instances are busy');
  await patient();

  const pod = client.pod;
  const answer = good('Shutdown', await client.shutdown());
  if (answer !== null) {
    equal([answer.pod_name, answer.server_session_id,
      answer.client_session_id, answer.index, answer.server_method],
    [pod, client.session, client.session, 0, 'MyServiceShutdown'],
    'Shutdown');
  }
  await refused('Echo after Shutdown', client.echo(),
      code.RESOURCE_EXHAUSTED, 'all instances are busy');
  return others;
}

async function unavailable(others) {
  good('Shutdown of another session', await others[1].shutdown());
  const stream = others[0].subscribe();
  await message(others[0], stream, 0);
  kill(others[0]);
  for (let index = 1, answer; (answer = await stream.next()); index++) {
    fields('stream: sent before the kill', others[0], answer,
        'MyServiceSubscribe', index);
  }
  expectStatus('stream: the last instance is killed', stream.status,
      code.UNAVAILABLE, 'backend service unavailable');
  await refused('Echo without instances', others[0].echo(),
      code.UNAVAILABLE, 'backend service unavailable');
}

async function main() {
  const version = from('@grpc/grpc-js/package.json').version;
  console.log(`# grpc-js ${version}, node ${process.versions.node}, `
              + `gateway ${GATEWAY}`);
  await loginErrors();
  const client = await signIn('first');
  await refusals(client);
  await calls(client);
  await streams(client);
  if (STACK) {
    await killed(client);
  } else {
    check(true, 'instances killed # SKIP the stack cannot be stopped from here');
  }
  const others = await busy(client);
  if (STACK) {
    await unavailable(others);
  }
  console.log(`1..${checks}`);
  process.exit(failed ? 1 : 0);
}

main().catch((error) => {
  console.log(`not ok - ${error.stack}`);
  process.exit(1);
});
