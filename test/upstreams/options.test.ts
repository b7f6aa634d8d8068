import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startSample } from './rig.ts'

const file = (name: string): string => fileURLToPath(new URL(`../../deploy/upstreams/${name}.ts`, import.meta.url))
const template = fileURLToPath(new URL('../../deploy/upstreams/pod-templates/jwt.yaml', import.meta.url))
const issuer = ['--issuer', 'https://postern.example']
const mtls = ['--cert', '/nowhere/c', '--key', '/nowhere/k', '--ca', '/nowhere/ca']
const manager = ['--listen', '127.0.0.1:0', ...issuer, '--mode', 'jwt']

describe('the flags of the samples', () => {
  const wrong: [name: 'picod' | 'workloadmanager', args: string[], says: RegExp][] = [
    ['picod', [...issuer, '--sandbox', 's1', '--mode', 'jwt'], /expected --listen or PICOD_LISTEN/],
    ['picod', ['--listen', '127.0.0.1:0', '--mode', 'jwt', '--sandbox', 's1'], /expected --issuer or PICOD_ISSUER/],
    ['picod', ['--listen', '127.0.0.1:0', ...issuer, '--mode', 'jwt'], /expected --sandbox or PICOD_SANDBOX/],
    ['picod', ['--listen', '127.0.0.1:0', ...issuer, '--sandbox', 's1', ...mtls], /--mode mtls: expected --allow/],
    ['picod', ['--listen', '127.0.0.1:0', ...issuer, '--sandbox', 's1', '--allow', 'spiffe://a/b'], /expected --cert or PICOD_CERT/],
    ['picod', ['--listen', '127.0.0.1:0', ...issuer, '--sandbox', 's1', '--mode', 'none'], /--mode none: expected mtls or jwt/],
    ['picod', ['--listen', '127.0.0.1', ...issuer, '--sandbox', 's1', '--mode', 'jwt'], /expected HOST:PORT/],
    [
      'picod',
      ['--listen', '127.0.0.1:0', '--issuer', 'http://far.example', '--sandbox', 's1', '--mode', 'jwt'],
      /expected https, http on loopback/,
    ],
    ['workloadmanager', manager, /expected --pod-template/],
    ['workloadmanager', [...manager, '--pod-template', file('picod')], /picod.ts is no YAML/],
    ['workloadmanager', [...manager, '--pod-template', '/nowhere'], /\/nowhere cannot be read \(ENOENT\)/],
    ['workloadmanager', [...manager, '--pod-template', template], /there is no cluster around this process/],
    ['workloadmanager', [...manager, '--memory', '--what'], /Unknown option '--what'/],
  ]
  for (const [name, args, says] of wrong)
    it(`${name}: ${says.source}`, () => {
      const env = { ...process.env, KUBERNETES_SERVICE_HOST: '' }
      const { status, stderr } = spawnSync(process.execPath, [file(name), ...args], { encoding: 'utf8', env, timeout: 10_000 })
      assert.match(stderr, says)
      assert.equal(status, 2)
    })

  it('may come from the environment', async () => {
    const env = { PICOD_MODE: 'jwt', PICOD_ISSUER: 'http://127.0.0.1:9', PICOD_SANDBOX: 's7', PICOD_AUDIENCE: 'other' }
    const sample = await startSample('picod', [], env)
    const { sandbox, audience, mode } = sample.logs()[0]!
    assert.deepEqual([sandbox, audience, mode], ['s7', 'other', 'jwt'])
    // No issuer answers there: nothing can be said of a token.
    const answer = await fetch(`http://127.0.0.1:${sample.port}/`, {
      headers: { authorization: 'Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA' },
    })
    assert.equal(answer.status, 503)
    await sample.stop()
    assert.equal((await sample.program.ended).code, 0)
  })
})
