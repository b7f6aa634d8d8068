import { startIssuer } from '../callers.ts'
import { grpcGo } from '../peers/index.ts'
import { startPostern } from '../postern.ts'
import type { Row } from '../row.ts'
import { denied, peerRow, posternRow, posternStarted } from './direct.ts'

const group = 'work'
const tcp = { group, address: 'tcp' } as const

/** More tokens than a validator remembers (10,000): each is verified anew when its turn comes again. */
const coldTokens = 12_000
/** Less than a kept token must have left (5 s) to be handed out again: each check needs a new one. */
const shortLived = '4s'

/** What else Postern does, beside what it does in the first group. */
export const work: readonly Row[] = [
  peerRow(grpcGo, { ...tcp, id: 'work-grpc-go', title: 'grpc-go, by hand', reference: true }),
  posternRow({ ...tcp, id: 'work-postern', title: 'Postern' }),
  posternRow({ ...tcp, id: 'denial', title: 'Postern: denial, not the owner', traffic: denied }),
  posternRow({ ...tcp, id: 'audit-all', title: 'Postern: every decision in the audit trail', options: { audit: 'all' } }),
  verifiedHere('jwt-warm', 'Postern: verifies the JWT (RS256), seen before', 1),
  verifiedHere('jwt-cold', 'Postern: verifies the JWT (RS256), not seen before', coldTokens),
  posternRow({ ...tcp, id: 'downstream-cold', title: 'Postern: downstream token minted each time', options: { ttl: shortLived } }),
  posternRow({ ...tcp, id: 'workers-2', title: 'Postern: two workers', options: { workers: 2 } }),
]

/** JWTs in Authorization, none verified by Envoy; nothing downstream, so that verification is what is seen. */
function verifiedHere(id: string, title: string, tokens: number): Row {
  return {
    id,
    group,
    title,
    ours: true,
    start: async ({ build, messages, tokens: maker }, folder) => {
      const issuer = await startIssuer(maker.jwks)
      try {
        const file = messages.withTokens(
          id,
          Array.from({ length: tokens }, () => maker.token(issuer.url)),
        )
        const running = await startPostern({ build, address: 'tcp', folder, verifiedHere: { issuer: issuer.url }, downstream: false })
        const started = posternStarted(running, messages, () => ({ messages: file, single: false }), 0)
        return { ...started, stop: () => started.stop().finally(issuer.stop) }
      } catch (error) {
        await issuer.stop()
        throw error
      }
    },
  }
}
