import { adminClient, adminSecret } from '../support/admin.ts'
import { until } from '../support/until.ts'
import { tokenSpec } from './case.ts'
import { dial, exchange } from './http1.ts'
import { outcomeOf } from './outcome.ts'
import { mint } from './tokens.ts'
import { edgeProof, owners, sharedToken, type World } from './world.ts'

/** Tokens that a running Postern hands out: for an upstream, for its own administration, and for the edge. */
export async function handedOut(world: World): Promise<ReadonlyMap<string, string>> {
  const admin = await adminClient(world.main.admin)
  const { token } = await admin.mint({ subject: 'tester', roles: ['invoke'] })
  await tellOwners(world)
  const login = await fetch(`http://${world.main.admin}/v1/admin/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ secret: adminSecret }),
  })
  const { access_token: adminToken } = (await login.json()) as { access_token: string }
  return new Map([
    ['own-token', token],
    ['admin-token', adminToken],
    ['downstream', await downstream(world)],
    ['shared', sharedToken],
    ['edge-proof', edgeProof],
    ...(await apiKeys(world)),
    ...(await pageTokens(world)),
  ])
}

/** Whose things are behind the listener `ways`. */
async function tellOwners(world: World): Promise<void> {
  const admin = await adminClient(world.ways.admin)
  for (const [id, { owner, labels }] of Object.entries(owners.ways)) {
    const { status } = await admin.call('PUT', `/v1/resources/sandbox/${id}/labels`, { labels })
    if (status !== 200) throw new Error(`the labels of ${id} were answered with ${status}`)
    await admin.setOwner('sandbox', id, owner)
  }
}

/** As an upstream would see it that turns against its callers. */
async function downstream(world: World): Promise<string> {
  const alice = mint(tokenSpec({ by: 'users' }), world.minting)
  const lines = ['GET /sandboxes/s1 HTTP/1.1', 'Host: edge.example', `Authorization: Bearer ${alice}`, 'Connection: close', '', '']
  const socket = await dial(world.envoy.port('edge'), { ca: world.certificates.caPem }, 'http/1.1')
  const [answer] = await exchange(socket, Buffer.from(lines.join('\r\n')))
  const received = answer && outcomeOf(answer).received
  const value = received?.headers.find(([name]) => name === 'authorization')?.[1]
  // None is a fault that cases show.
  return value?.slice('Bearer '.length) ?? 'none'
}

/** An ordinary key, an administrator's, one that is revoked, and one that will soon have expired. */
async function apiKeys(world: World): Promise<[name: string, key: string][]> {
  const admin = await adminClient(world.ways.admin)
  const make = async (order: object): Promise<{ id: string; key: string }> => {
    const made = await admin.call('POST', '/v1/api-keys', { validator: 'keys', ...order })
    if (made.status !== 201) throw new Error(`an API key was answered with ${made.status}: ${await made.text()}`)
    return (await made.json()) as { id: string; key: string }
  }
  const [plain, root, revoked, expired] = await Promise.all([
    make({ owner: 'carol' }),
    make({ owner: 'root', role: 'admin' }),
    make({ owner: 'dave' }),
    make({ owner: 'erin', expires_in: 1 }),
  ])
  await admin.call('DELETE', `/v1/api-keys/${revoked.id}`)
  return [
    ['key', plain.key],
    ['key-of-root', root.key],
    ['revoked-key', revoked.key],
    ['expired-key', expired.key],
  ]
}

async function pageTokens(world: World): Promise<[name: string, token: string][]> {
  const admin = await adminClient(world.ways.admin)
  const mint = async (order: object): Promise<string> => {
    // The key that signs them is made meanwhile.
    const made = await until('a page token', async () => {
      const answer = await admin.call('POST', '/v1/page-tokens', { roles: ['invoke'], ...order })
      return answer.status === 503 ? undefined : answer
    })
    if (made.status !== 201) throw new Error(`a page token was answered with ${made.status}: ${await made.text()}`)
    return ((await made.json()) as { access_token: string }).access_token
  }
  return [
    ['page-token', await mint({})],
    ['short-page-token', await mint({ ttl: 1 })],
  ]
}
