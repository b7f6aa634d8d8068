import { type AdminClient, adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type Asker, openAsker } from './asker.ts'
import { policyOf, secrets } from './edge.ts'

/** Two people, either of whom may own a sandbox. */
export const people = ['alice', 'bob'] as const
export type Person = (typeof people)[number]
export const otherThan = (person: Person): Person => (person === 'alice' ? 'bob' : 'alice')

/** A replica that decides whose a sandbox is. */
export interface OwnedReplica {
  readonly postern: RunningPostern
  readonly admin: AdminClient
  /** What a GET of the sandbox by this person is answered: `ok`, or the reason. */
  readonly ask: (person: Person, id: string) => Promise<string>
}

/** Replicas over one state, with a key for each person. */
export interface OwnedReplicas {
  readonly replicas: readonly OwnedReplica[]
  readonly stop: () => Promise<void>
}

/** @param states `state` of each replica's policy, in YAML */
export async function startOwned(states: readonly string[]): Promise<OwnedReplicas> {
  const folders: TemporaryFolder[] = []
  const started: { readonly postern: RunningPostern; readonly admin: AdminClient; readonly asker: Asker }[] = []
  const stop = async () => {
    for (const { asker, postern } of started) {
      asker.close()
      await postern.stop()
    }
    for (const folder of folders) folder.remove()
  }
  try {
    const ports = await freePorts(2 * states.length)
    for (const [i, state] of states.entries()) {
      const folder = temporaryFolder()
      folders.push(folder)
      const check = `unix:${folder.file('check.sock')}`
      const admin = `127.0.0.1:${ports[2 * i]}`
      const policy = policyOf('ownership.yaml', { check, admin, issuer: `127.0.0.1:${ports[2 * i + 1]}`, state })
      const postern = await startPostern(policy, { env: secrets, folder, limit: 40_000 })
      started.push({ postern, admin: await adminClient(admin), asker: openAsker(check) })
    }
    const keys = new Map<Person, string>()
    for (const person of people) {
      const answer = await started[0]!.admin.call('POST', '/v1/api-keys', { owner: person })
      keys.set(person, ((await answer.json()) as { key: string }).key)
    }
    const replicas = started.map(({ postern, admin, asker }) => ({
      postern,
      admin,
      ask: (person: Person, id: string) => asker.ask(`/v1/sandboxes/${id}`, keys.get(person)),
    }))
    for (const { ask } of replicas)
      for (const person of people) await until('the keys everywhere', async () => (await ask(person, 'nobodys')) === 'not_owner', 5000)
    return { replicas, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** What of sorted numbers lies at a part of them. */
export const at = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN

/** `p50 1.2 ms, p99 3.4 ms, worst 5.6 ms`, of milliseconds. */
export function spread(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  const [p50, p99, worst] = [at(sorted, 0.5), at(sorted, 0.99), at(sorted, 1)].map((ms) => ms.toFixed(1))
  return `p50 ${p50} ms, p99 ${p99} ms, worst ${worst} ms`
}
