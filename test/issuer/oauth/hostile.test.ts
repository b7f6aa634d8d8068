import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../support/until.ts'
import { basic, openRig, type Rig, withSecret } from './rig.ts'

const form = 'grant_type=client_credentials'

describe('hostile requests to the token service', function () {
  this.timeout(20_000)
  let rig: Rig
  before(async () => {
    rig = await openRig()
    rig.clients.set('backend', withSecret('backend', 'secret-1'))
    rig.clients.set('other', withSecret('other', 'secret-2'))
  })
  beforeEach(() => {
    rig.faults.length = 0
    rig.requests.length = 0
  })
  after(() => rig.close())

  /** What comes for these bytes until the connection ends, or nothing more does. */
  const raw = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(rig.port, '127.0.0.1', () => socket.write(text))
      let answer = ''
      socket.setTimeout(500, () => socket.destroy())
      socket.on('data', (part: Buffer) => {
        answer += part.toString('latin1')
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(answer))
    })
  const head = (...headers: readonly string[]): string =>
    `${['POST /auth/token HTTP/1.1', 'Host: sts', `Content-Length: ${form.length}`, ...headers].join('\r\n')}\r\n\r\n`
  const type = 'Content-Type: application/x-www-form-urlencoded'
  const mine = `Authorization: ${basic('backend', 'secret-1')['authorization']}`
  const theirs = `Authorization: ${basic('other', 'secret-2')['authorization']}`

  it('a header that says who asks, or how to read it, is there once', async () => {
    assert.match(await raw(head(type, mine) + form), /^HTTP\/1\.1 200 /)
    for (const twice of [
      [type, mine, theirs],
      [type, mine, mine],
      [type, type, mine],
      [type, 'Content-Type: application/json', mine],
    ]) {
      const answer = await raw(head(...twice) + form)
      assert.match(answer, /^HTTP\/1\.1 400 /, twice.join(' | '))
      assert.match(answer, /"invalid_request"/)
    }
    assert.equal(rig.requests.length, 1)
  })

  it('a body that is encoded is not read as if it were not', async () => {
    for (const encoding of ['gzip', 'identity, br', 'x']) {
      const answer = await rig.post('/auth/token', form, { ...basic('backend', 'secret-1'), 'content-encoding': encoding })
      assert.deepEqual([answer.status, answer.json.error], [415, 'invalid_request'], encoding)
    }
    assert.equal((await rig.post('/auth/token', form, { ...basic('backend', 'secret-1'), 'content-encoding': 'identity' })).status, 200)
  })

  it('whoever goes away before the answer is no fault of ours', async () => {
    const before = rig.observed.length
    rig.state.slow = 20
    for (let i = 0; i < 40; i++) {
      const socket = connect(rig.port, '127.0.0.1', () => {
        const [auth, length] = [i % 2 ? mine : theirs.slice(0, -3), i % 4 ? form.length : 1000]
        socket.write(`POST /auth/token HTTP/1.1\r\nHost: sts\r\nContent-Length: ${length}\r\n${type}\r\n${auth}\r\n\r\n${form}`)
        setTimeout(() => (i % 3 ? socket.resetAndDestroy() : socket.destroy()), i % 5)
      })
      socket.on('error', () => {})
      await sleep(2)
    }
    await until('they were all seen', async () => rig.observed.length >= before + 40)
    await sleep(100)
    rig.state.slow = 0
    assert.deepEqual(rig.faults, [])
  })

  it('names of parameters are names and nothing else', async () => {
    const names = ['__proto__', 'constructor', 'hasOwnProperty', 'toString', '__proto__[audience]', 'audience[]']
    const answer = await rig.post('/auth/token', `${form}&${names.map((name) => `${name}=x`).join('&')}`, basic('backend', 'secret-1'))
    assert.equal(answer.status, 200)
    assert.deepEqual([...(rig.requests[0]?.params ?? [])], [])
    assert.equal(({} as Record<string, unknown>)['audience'], undefined)
    for (const grant of names) {
      const refused = await rig.post('/auth/token', { grant_type: grant }, basic('backend', 'secret-1'))
      assert.deepEqual([refused.status, refused.json.error], [400, 'unsupported_grant_type'], grant)
    }
    for (const id of [...names, 'backend\u0000', 'b'.repeat(40_000)]) {
      const refused = await rig.post('/auth/token', { ...{ grant_type: 'client_credentials', client_id: id, client_secret: 'x' } })
      assert.deepEqual([refused.status, refused.json.error], [401, 'invalid_client'], id.slice(0, 40))
    }
    assert.deepEqual(rig.faults, [])
  })

  it('guesses that begin at once are counted like those that come one by one', async () => {
    const limited = await openRig(undefined, undefined, true)
    try {
      limited.clients.set('backend', withSecret('backend', 'secret-1'))
      const sockets = Array.from({ length: 60 }, () => connect(limited.port, '127.0.0.1'))
      const guess = 'grant_type=client_credentials&client_id=backend&client_secret=x'
      const answers: string[] = []
      for (const socket of sockets) {
        socket.on('data', (part: Buffer) => answers.push(part.toString('latin1').slice(9, 12)))
        socket.on('error', () => {})
        socket.write(`POST /auth/token HTTP/1.1\r\nHost: sts\r\nContent-Length: ${guess.length}\r\n${type}\r\n\r\n`)
      }
      // All are let in while there was no failure yet, and guess one after the other.
      await sleep(200)
      for (const socket of sockets) {
        const before = answers.length
        socket.write(guess)
        await until('the answer', async () => answers.length > before)
      }
      const tried = answers.filter((status) => status === '401').length
      assert.ok(tried >= 10 && tried <= 40, `${tried} guesses were looked at`)
      assert.equal(answers.filter((status) => status === '429').length, 60 - tried)
      for (const socket of sockets) socket.destroy()
    } finally {
      await limited.close()
    }
  })
})
