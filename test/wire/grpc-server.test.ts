import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChannelCredentials, type ChannelOptions, Client, credentials, type ServiceError, status } from '@grpc/grpc-js'
import type { Answer } from '../../src/core/answer.ts'
import type { Soon } from '../../src/core/ports.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createCheckHandler } from '../../src/wire/check-handler.ts'
import { type GrpcServer, type GrpcServerOptions, startGrpcServer } from '../../src/wire/grpc-server.ts'
import { formatListenAddress, ListenFault, type ListenTls, parseListenAddress } from '../../src/wire/listener.ts'
import { servedProtos } from '../../src/wire/protos.ts'
import { createAuthority, writePair } from './certificates.ts'
import { allow, decodeResponse, encodeRequest, plainRequest } from './support.ts'

const checkPath = '/envoy.service.auth.v3.Authorization/Check'
const asIs = (message: Buffer): Buffer => message
const plain = encodeRequest(plainRequest)
const envoy = 'spiffe://cluster.local/ns/edge/sa/envoy'

type Failure = Pick<ServiceError, 'code' | 'details'>
const unary = (client: Client, path: string, message: Buffer, timeoutMs?: number): Promise<Buffer | Failure> =>
  new Promise((resolve) => {
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs }
    client.makeUnaryRequest(path, asIs, asIs, message, options, (error, reply) => resolve(error ?? reply ?? Buffer.alloc(0)))
  })

const code = (reply: Buffer | Failure): number => ('details' in reply ? reply.code : 0)
const denial = (reply: Buffer | Failure): number | undefined => {
  assert(reply instanceof Buffer, `a gRPC error: ${(reply as Failure).details}`)
  return decodeResponse(reply).denied_response?.status?.code
}

describe('the gRPC server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-wire-'))
  const servers: GrpcServer[] = []
  const clients: Client[] = []
  const faults: string[] = []
  let check: (ms: number) => Soon<Answer> = () => allow

  const handler = createCheckHandler({
    check: (_request, ms) => check(ms),
    refuse: (reason) => bareDenial(reason),
    maxInFlight: 1024,
    maxMessage: 64 * 1024,
    maxDeadlineMs: 2000,
  })
  const start = async (address: string, tls: ListenTls = { mode: 'none' }, more: Partial<GrpcServerOptions> = {}): Promise<GrpcServer> => {
    const server = await startGrpcServer({
      listener: { address: parseListenAddress(address), tls },
      handler,
      reflection: true,
      onFault: (detail) => faults.push(detail),
      ...more,
    })
    servers.push(server)
    server.serving(true)
    return server
  }
  const dial = (server: GrpcServer, creds: ChannelCredentials = credentials.createInsecure(), options: ChannelOptions = {}): Client => {
    const client = new Client(formatListenAddress(server.address), creds, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.ssl_target_name_override': 'localhost',
      ...options,
    })
    clients.push(client)
    return client
  }

  afterEach(async () => {
    check = () => allow
    for (const client of clients.splice(0)) client.close()
    await Promise.all(servers.splice(0).map((server) => server.close(200)))
    faults.length = 0
  })
  after(() => rmSync(folder, { recursive: true }))

  it('answers checks over TCP, and gives them the deadline', async () => {
    const given: number[] = []
    check = (ms) => {
      given.push(ms)
      return allow
    }
    const client = dial(await start('127.0.0.1:0'))
    const reply = await unary(client, checkPath, plain)
    assert(reply instanceof Buffer)
    assert.equal(decodeResponse(reply).ok_response?.headers?.[0]?.header?.value, 'alice')
    assert.equal(denial(await unary(client, checkPath, plain, 1000)), undefined)
    assert.equal(given[0], 150)
    assert(given[1]! > 500 && given[1]! <= 750, `${given[1]}`)
  })

  it('answers an undecodable or too large message with a denial, never with a gRPC error', async () => {
    const client = dial(await start('127.0.0.1:0'))
    assert.equal(denial(await unary(client, checkPath, Buffer.from([0x0a, 0xff]))), 400)
    assert.equal(denial(await unary(client, checkPath, Buffer.alloc(64 * 1024 + 1))), 400)
    check = () => Promise.reject(new Error('boom'))
    assert.equal(denial(await unary(client, checkPath, plain)), 500)
  })

  it('listens on a unix socket with mode 0660, and takes it away at the end', async () => {
    const path = join(folder, 'check.sock')
    const mask = process.umask(0)
    const server = await start(`unix:${path}`).finally(() => process.umask(mask))
    assert.equal(statSync(path).mode & 0o777, 0o660)
    assert.equal(code(await unary(dial(server), checkPath, plain)), 0)
    await server.close(200)
    assert.equal(existsSync(path), false)
  })

  it('replaces a socket where nobody answers', async () => {
    const path = join(folder, 'stale.sock')
    // A process that is killed leaves its socket behind.
    const dying = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', dying])
    assert(statSync(path).isSocket())
    assert.equal(code(await unary(dial(await start(`unix:${path}`)), checkPath, plain)), 0)
  })

  it('refuses unsafe and impossible binds with a sentence', async () => {
    const refused = async (address: string, pattern: RegExp, tls?: ListenTls): Promise<void> => {
      await assert.rejects(start(address, tls), (cause) => {
        assert(cause instanceof ListenFault)
        assert.match(cause.message, pattern)
        return true
      })
    }
    await refused('0.0.0.0:0', /whoever reaches this port can forge identities/)
    const files = { cert: '/none', key: '/none', ca: '/none' }
    await refused('0.0.0.0:0', /can forge/, { mode: 'tls', ...files })
    await refused('127.0.0.1:0', /needs allow/, { mode: 'mtls', ...files, allow: [] })
    await refused('127.0.0.1:0', /certificate \/none cannot be read \(ENOENT\)/, { mode: 'mtls', ...files, allow: [envoy] })
    const taken = await start('127.0.0.1:0')
    await refused(formatListenAddress(taken.address), /another process listens there/)
    await refused(`unix:${folder}/no/such/check.sock`, /folder of the socket does not exist/)
    const file = join(folder, 'file')
    writeFileSync(file, 'x')
    await refused(`unix:${file}`, /is no socket/)
    assert.equal(statSync(file).size, 1)
    const live = join(folder, 'live.sock')
    await start(`unix:${live}`)
    await refused(`unix:${live}`, /another process listens there/)
  })

  describe('with TLS', () => {
    const authority = createAuthority('test ca')
    const caFile = join(folder, 'ca.crt')
    writeFileSync(caFile, authority.cert)
    const pair = writePair(folder, 'server', authority.issue('server', ['IP:127.0.0.1', 'DNS:localhost']))
    const mtls: ListenTls = { mode: 'mtls', ...pair, ca: caFile, allow: [envoy] }
    const creds = (names?: readonly string[], by = authority): ChannelCredentials => {
      const client = names && by.issue('client', names)
      return credentials.createSsl(
        Buffer.from(authority.cert),
        client ? Buffer.from(client.key) : null,
        client ? Buffer.from(client.cert) : null,
      )
    }

    it('serves without client certificates in mode tls', async () => {
      const server = await start('127.0.0.1:0', { mode: 'tls', ...pair })
      assert.equal(code(await unary(dial(server, creds()), checkPath, plain)), 0)
      assert.equal(code(await unary(dial(server), checkPath, plain, 500)), status.UNAVAILABLE)
    })

    it('serves the workloads on the list, and refuses all others on every method', async () => {
      let asked = 0
      check = () => {
        asked++
        return allow
      }
      const server = await start('127.0.0.1:0', mtls)
      assert.equal(code(await unary(dial(server, creds([`URI:${envoy}`])), checkPath, plain)), 0)
      assert.equal(asked, 1)
      const strangers = [
        ['URI:spiffe://cluster.local/ns/edge/sa/other'],
        ['DNS:localhost'],
        [`URI:${envoy}`, 'URI:spiffe://cluster.local/x'],
        [`DNS:a, URI:${envoy}`],
        [],
      ]
      for (const names of strangers) {
        const client = dial(server, creds(names))
        for (const path of [checkPath, '/grpc.health.v1.Health/Check']) {
          assert.equal(code(await unary(client, path, plain)), status.PERMISSION_DENIED, names.join())
        }
      }
      assert.equal(asked, 1)
      assert(faults.some((detail) => detail.includes('sa/other is not on the list')))
      for (const client of [dial(server, creds()), dial(server, creds([`URI:${envoy}`], createAuthority('test ca')))]) {
        assert.equal(code(await unary(client, checkPath, plain, 1000)), status.UNAVAILABLE)
      }
      assert.equal(asked, 1)
    })

    it('survives broken handshakes, and does not wait for them at the end', async () => {
      for (const tls of [mtls, { mode: 'none' }] as const) {
        const server = await start('127.0.0.1:0', tls)
        const { port } = server.address as { port: number }
        const sockets = ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00\x01', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff', ''].map(
          (text) => {
            const socket = connect(port, '127.0.0.1')
            socket.on('error', () => {})
            socket.write(text, 'latin1')
            return socket
          },
        )
        await new Promise((resolve) => setTimeout(resolve, 50))
        const identified = tls.mode === 'mtls' ? creds([`URI:${envoy}`]) : undefined
        assert.equal(code(await unary(dial(server, identified), checkPath, plain)), 0)
        sockets[1]!.resetAndDestroy()
        const began = performance.now()
        await server.close(100)
        assert(performance.now() - began < 1000)
        for (const socket of sockets) socket.destroy()
      }
    })

    it('refuses a key that others can read, and files that do not belong together', async () => {
      const open = writePair(folder, 'open', authority.issue('server', []))
      chmodSync(open.key, 0o644)
      await assert.rejects(start('127.0.0.1:0', { ...mtls, ...open }), /open\.key is open to others \(mode 0644\); expected 0600 or 0640/)
      await assert.rejects(
        start('127.0.0.1:0', { ...mtls, cert: pair.cert, key: writePair(folder, 'b', authority.issue('b', [])).key }),
        /are no PEM pair/,
      )
      const empty = join(folder, 'empty.crt')
      writeFileSync(empty, '')
      await assert.rejects(start('127.0.0.1:0', { ...mtls, ca: empty }), /holds no PEM certificate/)
    })

    it('uses renewed certificates without a restart, and keeps the last good ones', async () => {
      const own = writePair(folder, 'renewed', authority.issue('server', ['DNS:localhost']))
      const server = await start('127.0.0.1:0', { mode: 'tls', ...own }, { certificatesEveryMs: 20 })
      assert.equal(code(await unary(dial(server, creds()), checkPath, plain)), 0)
      const next = createAuthority('next ca')
      const trustsNext = (): Client => dial(server, credentials.createSsl(Buffer.from(next.cert)))
      assert.equal(code(await unary(trustsNext(), checkPath, plain, 500)), status.UNAVAILABLE)
      const renewed = next.issue('server', ['DNS:localhost'])
      writeFileSync(own.cert, renewed.cert)
      while (faults.every((detail) => !detail.includes('not reloaded'))) await new Promise((resolve) => setTimeout(resolve, 10))
      assert.equal(code(await unary(dial(server, creds()), checkPath, plain)), 0)
      writeFileSync(own.key, renewed.key)
      for (let tries = 0; code(await unary(trustsNext(), checkPath, plain, 500)) !== 0; tries++) assert(tries < 20)
    })
  })

  describe('beside checks', () => {
    const { definition } = servedProtos()
    const health = definition['grpc.health.v1.Health'] as unknown as Record<
      string,
      { path: string; requestSerialize: (v: object) => Buffer; responseDeserialize: (b: Buffer) => { status?: number } }
    >
    const healthOf = async (client: Client, service: string): Promise<number | undefined> => {
      const reply = await unary(client, health['Check']!.path, health['Check']!.requestSerialize({ service }))
      return 'details' in reply ? -reply.code : health['Check']!.responseDeserialize(reply).status
    }

    it('tells its health', async () => {
      const server = await start('127.0.0.1:0')
      const client = dial(server)
      for (const service of ['', 'envoy.service.auth.v3.Authorization']) assert.equal(await healthOf(client, service), 1)
      assert.equal(await healthOf(client, 'other'), -status.NOT_FOUND)
      server.serving(false)
      assert.equal(await healthOf(client, ''), 2)
    })

    it('says UNIMPLEMENTED for what it does not know', async () => {
      const client = dial(await start('127.0.0.1:0', { mode: 'none' }, { reflection: false }))
      assert.equal(code(await unary(client, '/envoy.service.auth.v3.Authorization/Other', plain)), status.UNIMPLEMENTED)
      assert.equal(code(await unary(client, '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', plain)), status.UNIMPLEMENTED)
    })

    it('answers reflection', async () => {
      const client = dial(await start('127.0.0.1:0'))
      const ask = (request: Buffer): Promise<string> =>
        new Promise((resolve, reject) => {
          const call = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', asIs, asIs)
          call.on('data', (reply: Buffer) => resolve(reply.toString('latin1')))
          call.on('error', reject)
          call.write(request)
          call.end()
        })
      const field = (tag: number, text: string): Buffer => Buffer.concat([Buffer.from([tag, text.length]), Buffer.from(text)])
      // ServerReflectionRequest: list_services = 7, file_containing_symbol = 4.
      const services = await ask(field(0x3a, '*'))
      assert(services.includes('envoy.service.auth.v3.Authorization') && services.includes('grpc.health.v1.Health'))
      const file = await ask(field(0x22, 'envoy.service.auth.v3.Authorization'))
      assert(file.includes('CheckRequest') && file.includes('CheckResponse'))
    })

    it('drains: a call in flight ends well, and nobody new gets in', async () => {
      let begun = (): void => {}
      const inside = new Promise<void>((resolve) => {
        begun = resolve
      })
      let finish: (answer: Answer) => void = () => {}
      check = () => {
        begun()
        return new Promise((resolve) => {
          finish = resolve
        })
      }
      const server = await start('127.0.0.1:0')
      const client = dial(server)
      const watched: (number | undefined)[] = []
      const watch = client.makeServerStreamRequest(
        health['Watch']!.path,
        asIs,
        health['Watch']!.responseDeserialize,
        health['Watch']!.requestSerialize({ service: '' }),
      )
      watch.on('error', () => {})
      watch.on('data', (message) => watched.push(message.status))
      const watchEnded = new Promise((resolve) => watch.on('status', (end) => resolve(end.code)))
      const call = unary(client, checkPath, plain, 5000)
      await inside
      const began = performance.now()
      const closed = server.close(4000)
      assert.equal(code(await unary(dial(server), checkPath, plain, 500)), status.UNAVAILABLE)
      assert.equal(await watchEnded, status.OK)
      assert.deepEqual(watched, [1, 2])
      finish(allow)
      assert.equal(code(await call), 0)
      await closed
      assert(performance.now() - began < 3000)
    })

    it('cuts what does not end in time', async () => {
      check = () => new Promise(() => {})
      const server = await start('127.0.0.1:0')
      const call = unary(dial(server), checkPath, plain, 5000)
      const { port } = server.address as { port: number }
      const idle = connect(port, '127.0.0.1')
      idle.on('error', () => {})
      await new Promise((resolve) => idle.once('connect', resolve))
      await new Promise((resolve) => setTimeout(resolve, 100))
      const began = performance.now()
      await server.close(100)
      assert(performance.now() - began < 1000)
      assert.notEqual(code(await call), 0)
      assert.equal(await server.close(100), undefined)
    })
  })

  it('leaves the port free for others at the end', async () => {
    const server = await start('127.0.0.1:0')
    await server.close(100)
    const { port } = server.address as { port: number }
    const next = createServer()
    await new Promise<void>((resolve, reject) => next.once('error', reject).listen(port, '127.0.0.1', resolve))
    await new Promise((resolve) => next.close(resolve))
  })
})
