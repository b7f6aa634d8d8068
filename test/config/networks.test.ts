import assert from 'node:assert/strict'
import { networksAllow, parseNetwork } from '../../src/config/networks.ts'
import { load, policyFiles } from './policy-files.ts'

const allows = (...texts: readonly string[]) =>
  networksAllow(
    texts.map((text) => {
      const network = parseNetwork(text)
      assert.ok(typeof network !== 'string', String(network))
      return network
    }),
  )

describe('networks of endpoints', () => {
  const cases: readonly [networks: readonly string[], address: string, allowed: boolean][] = [
    [['10.0.0.0/8'], '10.255.255.255', true],
    [['10.0.0.0/8'], '11.0.0.0', false],
    [['10.1.2.3/32'], '10.1.2.3', true],
    [['10.1.2.3/32'], '10.1.2.2', false],
    [['10.0.0.0/8', 'fd00::/8'], 'fd12::1', true],
    [['10.0.0.0/8', 'fd00::/8'], 'fc00::1', false],
    [['fd00::/8'], 'FD00:0:0:0:0:0:0:1', true],
    // Another spelling of an IPv4 address is none.
    [['10.0.0.0/8'], '::ffff:10.0.0.1', false],
    [['10.0.0.0/8'], '::ffff:a00:1', false],
    [['10.0.0.0/8'], '64:ff9b::a00:1', false],
    [['10.0.0.0/8'], '::10.0.0.1', false],
    [['10.0.0.0/8', '2000::/3'], '2002:a00:1::', false],
    [['2000::/3'], '2001:db8::1', true],
    // Special blocks, within wide ones and by themselves.
    [['0.0.0.0/1', '128.0.0.0/1'], '127.0.0.1', false],
    [['0.0.0.0/1', '128.0.0.0/1'], '169.254.169.254', false],
    [['0.0.0.0/1', '128.0.0.0/1'], '169.254.1.1', false],
    [['0.0.0.0/1', '128.0.0.0/1'], '0.0.0.0', false],
    [['0.0.0.0/1', '128.0.0.0/1'], '224.0.0.1', false],
    [['0.0.0.0/1', '128.0.0.0/1'], '255.255.255.255', false],
    [['0.0.0.0/1', '128.0.0.0/1'], '8.8.8.8', true],
    [['::/1', '8000::/1'], '::1', false],
    [['::/1', '8000::/1'], 'fe80::1', false],
    [['::/1', '8000::/1'], 'fd00:ec2::254', false],
    [['::/1', '8000::/1'], '::ffff:1.2.3.4', false],
    [['127.0.0.0/8'], '127.0.0.1', true],
    [['127.0.0.1/32'], '127.0.0.1', true],
    [['127.0.0.1/32'], '127.0.0.2', false],
    [['::1/128'], '::1', true],
    [['169.254.0.0/16'], '169.254.7.7', true],
    [['169.254.0.0/16'], '169.254.169.254', false],
    [['169.254.169.254/32'], '169.254.169.254', true],
    // A block of one family lets nothing of the other in.
    [['::/1'], '10.0.0.1', false],
    [['::/64'], '10.0.0.1', false],
    [['0.0.0.0/1'], '::a00:1', false],
    // What is special is so in the other spelling too.
    [['::ffff:0:0/96'], '::ffff:10.1.2.3', true],
    [['::ffff:0:0/96'], '::ffff:127.0.0.1', false],
    [['::ffff:0:0/96'], '0:0:0:0:0:ffff:7f00:1', false],
    [['::ffff:0:0/96'], '::ffff:169.254.169.254', false],
    [['::ffff:0:0/96'], '::ffff:0.0.0.0', false],
    [['::ffff:127.0.0.0/104'], '::ffff:127.0.0.1', true],
    [['::ffff:10.0.0.0/104'], '::ffff:11.0.0.0', false],
    [['::ffff:10.0.0.0/104'], '10.0.0.1', false],
    [['2000::/3'], '2001:0:7f00:1::', false],
    [['fe80::/10'], 'fe80::1%eth0', false],
    [['10.0.0.0/8'], '10.1', false],
    [['10.0.0.0/8'], '', false],
  ]
  for (const [networks, address, allowed] of cases)
    it(`${networks.join(', ')} ${allowed ? 'let' : 'do not let'} ${JSON.stringify(address)} in`, () =>
      assert.equal(allows(...networks)(address), allowed))

  it('that lead back to this machine are warned of', async () => {
    const file = await policyFiles({
      'postern.yaml': `version: 1
listen: { check: { address: unix:/run/postern/check.sock } }
identity: [{ name: users, type: oidc, issuer: https://a.example, audience: [x] }]
ownership: { endpoint: { networks: [10.0.0.0/8, 127.0.0.1/32, "fe80::/64"] } }
routes: []
`,
    })
    const { warnings } = await load(file)
    assert.deepEqual(
      warnings
        .filter(({ path }) => path.startsWith('ownership'))
        .map(({ path, message }) => `${path} ${/is ([a-z-]+):/.exec(message)?.[1]}`),
      ['ownership.endpoint.networks[1] loopback', 'ownership.endpoint.networks[2] link-local'],
    )
  })
})
