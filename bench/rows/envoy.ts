import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { testCertificates } from '../../test/support/certificates.ts'
import { startEnvoy } from '../envoy.ts'
import type { EnvoyOptions } from '../envoy-config.ts'
import type { Peer, Running } from '../peer.ts'
import { authorino, grpcGo, opa, opaConsole } from '../peers/index.ts'
import { nodeHttp2 } from '../peers-node/index.ts'
import { startPostern } from '../postern.ts'
import type { Bench, Row } from '../row.ts'
import { httpRequest, httpTraffic } from '../traffic.ts'

const group = 'envoy'

/** Starts what Envoy asks. @param folder an empty one of its own */
type StartAuthorizer = (bench: Bench, folder: string) => Promise<{ readonly running: Running; readonly mtls?: EnvoyOptions['mtls'] }>

interface Named {
  readonly id: string
  readonly title: string
  readonly ours: boolean
  readonly version?: string
  readonly reference?: true
  readonly peer?: Peer
  /** Envoy verifies a token of the caller's. */
  readonly verified?: true
}

/** A row that asks an Envoy; its CPU time counts together with the authorizer's. */
function envoyRow({ verified, ...named }: Named, authorizer?: StartAuthorizer): Row {
  return {
    ...named,
    group,
    needs: ['envoy'],
    start: async (bench, folder) => {
      const asked = authorizer && (await authorizer(bench, folder))
      try {
        const request = join(folder, 'request.http')
        const { tokens } = bench
        writeFileSync(request, httpRequest(verified && tokens.token()), { mode: 0o600 })
        const envoy = await startEnvoy({
          binary: bench.envoy ?? 'envoy',
          folder,
          caller: verified ? { jwks: tokens.jwks } : { payload: tokens.claims() },
          ...(asked === undefined ? {} : { authorizer: asked.running.target }),
          ...(asked?.mtls === undefined ? {} : { mtls: asked.mtls }),
          ...(asked?.running.inside === undefined ? {} : { inside: asked.running.inside }),
        })
        return {
          pids: () => [...envoy.pids(), ...(asked?.running.pids() ?? [])],
          ...(asked === undefined ? {} : { authorizer: asked.running.pids }),
          run: httpTraffic(envoy, request),
          stop: async () => {
            await envoy.stop()
            await asked?.running.stop()
          },
        }
      } catch (error) {
        await asked?.running.stop()
        throw error
      }
    },
  }
}

const peer = (of: Peer, id: string, title: string, address: 'unix' | 'tcp', reference?: true): Row =>
  envoyRow(
    { id, title, ours: false, version: of.version, peer: of, ...(reference === undefined ? {} : { reference }) },
    async ({ messages }, folder) => {
      const own = join(folder, 'peer')
      mkdirSync(own)
      return { running: await of.start({ address, folder: own, message: messages.allowed }) }
    },
  )

const postern = (id: string, title: string, address: 'unix' | 'tcp', more: Pick<Named, 'verified'> = {}): Row =>
  envoyRow({ id, title, ours: true, ...more }, async ({ build }, folder) => ({ running: await startPostern({ build, address, folder }) }))

const clientId = 'spiffe://cluster.local/ns/edge/sa/envoy'

const posternMtls: Row = envoyRow({ id: 'envoy-postern-mtls', title: 'Postern, mTLS', ours: true }, async ({ build }, folder) => {
  const certificates = testCertificates(folder)
  const { ca } = certificates
  const { cert, key } = certificates.server('postern')
  const running = await startPostern({ build, address: 'tcp', folder, mtls: { cert, key, ca, allow: clientId } })
  return { running, mtls: { ...certificates.workload('envoy', clientId), ca } }
})

/** The same Envoy before each authorizer, and before none. */
export const envoy: readonly Row[] = [
  envoyRow({ id: 'envoy-none', title: 'no authorization call', ours: false }),
  envoyRow({ id: 'envoy-none-jwt', title: 'no authorization call, Envoy verifies a JWT', ours: false, verified: true }),
  peer(grpcGo, 'envoy-grpc-go', 'grpc-go, by hand', 'tcp', true),
  postern('envoy-postern', 'Postern', 'tcp'),
  peer(grpcGo, 'envoy-grpc-go-unix', 'grpc-go, by hand, unix socket', 'unix'),
  postern('envoy-postern-unix', 'Postern, unix socket', 'unix'),
  posternMtls,
  postern('envoy-postern-jwt', 'Postern, Envoy verifies a JWT', 'tcp', { verified: true }),
  peer(nodeHttp2, 'envoy-node-http2', 'node:http2, canned answer', 'tcp'),
  peer(opa, 'envoy-opa', 'OPA-Envoy, decision log off', 'tcp'),
  peer(opaConsole, 'envoy-opa-console', 'OPA-Envoy, log on console', 'tcp'),
  peer(authorino, 'envoy-authorino', 'Authorino', 'tcp'),
]
