import { deepEqual, equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { type Service, serve, startService } from './direct-service.ts'
import { type Acknowledged, acts, type Call, nothingYet, startKillLoad } from './kill-load.ts'
import { type Kept, missing, readFile, readRedis } from './kill-trail.ts'

/** How often the service is killed; the full run has 100. */
const kills = Number(process.env['POSTERN_TEST_KILLS'] ?? 5)
const clients = 6
/** Milliseconds after the service is ready within which it is killed. */
const longest = 700

/** Owners that are neither what was acknowledged last nor what was asked for since. */
async function wrongOwners(known: Acknowledged, call: Call): Promise<string[]> {
  const wrong: string[] = []
  for (const [id, { last, asked }] of known.owners) {
    const answer = await call('GET', `/v1/resources/sandbox/${id}/labels`)
    const { owner } = (await answer.json()) as { owner?: string }
    if (owner !== last && !asked.has(owner ?? '')) wrong.push(`${id}: ${owner}, not ${last}`)
    // What is there now is what every later look has to find.
    known.owners.set(id, { last: owner, asked: new Set() })
  }
  return wrong
}

const some = <T>(from: Iterable<T>, count: number): T[] => [...from].toSorted(() => Math.random() - 0.5).slice(0, count)

/** Of a few credentials, those that are good for something else than they should be. */
async function wrongReasons(known: Acknowledged, { reason }: Service): Promise<string[]> {
  const wrong: string[] = []
  const expect = async (what: string, credential: string, expected: string) => {
    const found = await reason(credential)
    if (found !== expected) wrong.push(`${what}: ${found}, not ${expected}`)
  }
  const live = [...known.tokens].filter(([jti]) => !known.revoked.has(jti))
  const dead = [...known.tokens].filter(([jti]) => known.revoked.has(jti))
  const keys = [...known.apiKeys].filter(([id]) => !known.revokedKeys.has(id))
  const deadKeys = [...known.apiKeys].filter(([id]) => known.revokedKeys.has(id))
  for (const [jti, token] of some(dead, 10)) await expect(`revoked token ${jti}`, token, 'revoked')
  for (const [id, key] of some(deadKeys, 5)) await expect(`revoked API key ${id}`, key, 'revoked')
  // A revocation that was not answered may have happened.
  for (const [jti, token] of some(live, 5)) {
    const found = await reason(token)
    if (found !== 'ok' && found !== 'revoked') wrong.push(`token ${jti}: ${found}`)
  }
  for (const [id, key] of some(keys, 3)) {
    const found = await reason(key)
    if (found !== 'ok' && found !== 'revoked') wrong.push(`API key ${id}: ${found}`)
  }
  return wrong
}

/** Kills, starts again, looks: over and over, on one state. */
async function live(state: string, folder: TemporaryFolder, read: () => Kept | Promise<Kept>): Promise<void> {
  // The same ones each time: the issuer's is part of `iss`.
  const ports = await freePorts(3)
  const known = nothingYet()
  const refusals: string[] = []
  let early = 0
  for (let round = 0; round < kills; round++) {
    const service = await startService(folder, state, ports)
    try {
      deepEqual(await wrongOwners(known, service.call), [])
      deepEqual(await wrongReasons(known, service), [])
      const load = startKillLoad(service.call, known, clients, `r${round}`)
      await sleep(50 + Math.random() * longest)
      const ended = service.kill()
      await Promise.all([ended, load.stop()])
      refusals.push(...load.refusals)
    } finally {
      await service.kill()
    }
    // Now and then in the middle of a start, too.
    if (Math.random() < 0.2) {
      const starting = serve(folder)
      await sleep(200 + Math.random() * 600)
      starting.signal('SIGKILL')
      await starting.ended
      early += 1
    }
    const kept = await read()
    deepEqual(missing(known, kept), [], `round ${round}`)
    equal(kept.torn, 0)
    deepEqual(kept.verification.problems, [])
  }
  // A service that is well, and the last word on all of it.
  const last = await startService(folder, state, ports)
  try {
    deepEqual(await wrongOwners(known, last.call), [])
    deepEqual(await wrongReasons(known, last), [])
    const kept = await read()
    deepEqual(missing(known, kept), [])
    deepEqual(kept.verification.problems, [])
    const { tokens, revoked, apiKeys, revokedKeys, apps, owned } = known
    deepEqual(refusals, [])
    ok(acts(known) > kills * 10, `only ${acts(known)} acts`)
    console.log(
      `      ${kills} kills under load, ${early} in a start: ${tokens.size} tokens, ${revoked.size} revocations, ${apiKeys.size} API keys (${revokedKeys.size} revoked), ${apps.size} apps, ${owned.size} owners acknowledged; ${kept.verification.lines.events} events in ${kept.verification.heads.length} chains`,
    )
  } finally {
    await last.kill()
  }
}

describe('a service that is killed under load', function () {
  this.timeout(30_000 + kills * 15_000)
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder.remove())

  it('loses nothing that it acknowledged, with state in a file', async () => {
    const path = folder.file('postern.db')
    await live(`file:${path}`, folder, () => readFile(path))
  })

  it('loses nothing that it acknowledged, with state in Redis', async () => {
    const redis: RunningRedis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
    try {
      const client = redis.client()
      await live(redis.url, folder, () => readRedis(client, 'default'))
    } finally {
      await redis.stop()
    }
  })
})
