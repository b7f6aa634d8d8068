import { adminClient, adminSecret } from '../support/admin.ts'
import { tokenSpec } from './case.ts'
import { dial, exchange } from './http1.ts'
import { outcomeOf } from './outcome.ts'
import { mint } from './tokens.ts'
import type { World } from './world.ts'

/** Tokens that a running Postern hands out: for an upstream, for its own administration, and for the edge. */
export async function handedOut(world: World): Promise<ReadonlyMap<string, string>> {
  const admin = await adminClient(world.admin)
  const { token } = await admin.mint({ subject: 'tester', roles: ['invoke'] })
  const login = await fetch(`http://${world.admin}/v1/admin/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ secret: adminSecret }),
  })
  const { access_token: adminToken } = (await login.json()) as { access_token: string }
  return new Map([
    ['own-token', token],
    ['admin-token', adminToken],
    ['downstream', await downstream(world)],
  ])
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
