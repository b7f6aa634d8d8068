import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { credentials } from '@grpc/grpc-js'
import { type Asker, openAsker } from '../faults/asker.ts'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { type Edge, type Placeholders, startEdge } from '../support/edge.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { createStops } from '../support/stops.ts'
import { type Replica, startReplica, type Version } from './replica.ts'

export const policyFile = readFileSync(fileURLToPath(new URL('policy.yaml', import.meta.url)), 'utf8')

/** One of the two places where a replica runs; its addresses stay, whatever version is there. */
export interface Place {
  readonly admin: () => Promise<AdminClient>
  readonly ask: Asker['ask']
  /** The URL of its issuer listener. */
  readonly issuer: string
  readonly version: () => string
  /** Ends what runs here as an orchestrator does, and starts a version in its place. Gives the exit code of what ended. */
  readonly become: (version: Version) => Promise<number | null>
}

/** Two replicas on one Redis, behind one Envoy. */
export interface Pair {
  readonly edge: Edge
  readonly places: readonly [Place, Place]
  readonly stop: () => Promise<void>
}

export async function startPair(first: Version, second: Version): Promise<Pair> {
  const { started, stop } = createStops(() => {})
  try {
    const redis: RunningRedis = started(await startRedis())
    const state = `redis://127.0.0.1:${redis.port}/0`
    const [check = 0, admin = 0, issuer = 0] = await freePorts(3)
    const running: (Replica | undefined)[] = []
    const policies: { readonly text: string; readonly at: Placeholders }[] = []
    const begin = async (index: number, version: Version): Promise<void> => {
      const { text, at } = policies[index]!
      running[index] = await startReplica(version, text, at.admin)
    }
    const end = async (index: number): Promise<number | null> => {
      const code = (await running[index]?.stop()) ?? null
      running[index] = undefined
      return code
    }
    started({
      stop: async () => {
        await Promise.all([end(0), end(1)])
      },
    })
    // Envoy's file, with the address of a second replica.
    const withSecond = (text: string): string => {
      const endpoint = /(cluster_name: postern\n\s+endpoints: \[\{ lb_endpoints: \[)(\{[^\n]*?\})(\] \}\])/
      if (!endpoint.test(text)) throw new Error('envoy/tcp-mtls.yaml was expected to name the endpoint of Postern')
      return text.replace(
        endpoint,
        (_, before, one: string, after) => `${before}${one}, ${one.replace(/port_value: \d+/, `port_value: ${check}`)}${after}`,
      )
    }
    const edge = started(
      await startEdge(
        'tcp-mtls.yaml',
        policyFile.replace('@state@', state),
        async (text, at) => {
          const other = { ...at, check: `127.0.0.1:${check}`, admin: `127.0.0.1:${admin}`, issuer: `127.0.0.1:${issuer}` }
          const otherText = text.replaceAll(at.check, other.check).replaceAll(at.admin, other.admin).replaceAll(at.issuer, other.issuer)
          policies.push({ text, at }, { text: otherText, at: other })
          await begin(0, first)
          await begin(1, second)
          // The edge ends it; here each place ends its own.
          return { stop: async () => null } as never
        },
        1,
        withSecond,
      ),
    )
    const read = (name: string): Buffer => readFileSync(`${policies[0]!.at.folder}/${name}`)
    const channel = credentials.createSsl(read('workloads-ca.crt'), read('envoy.key'), read('envoy.crt'))
    const placeOf = (index: number): Place => {
      const { at } = policies[index]!
      return {
        admin: () => adminClient(at.admin),
        ask: async (path, token) => {
          const asker = openAsker(at.check, channel)
          try {
            return await asker.ask(path, token)
          } finally {
            asker.close()
          }
        },
        issuer: `http://${at.issuer}`,
        version: () => running[index]?.version.name ?? 'nothing',
        become: async (version) => {
          const code = await end(index)
          await begin(index, version)
          return code
        },
      }
    }
    return { edge, places: [placeOf(0), placeOf(1)], stop }
  } catch (error) {
    await stop()
    throw error
  }
}
