import type { Answer } from '../../src/core/answer.ts'
import type { Request } from '../../src/core/request.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createCheckHandler } from '../../src/wire/check-handler.ts'
import { startGrpcServer } from '../../src/wire/grpc-server.ts'
import { startLeanServer } from '../../src/wire/lean-server.ts'

/** Postern's wire with a test's own decisions behind it: for what Envoy makes of an answer, whatever a policy would say. */
export interface Answering {
  /** Decides about the next checks. */
  check: (request: Request) => Answer
  outagesAsErrors: boolean
  readonly stop: () => Promise<void>
}

/** @param socket path of the Check socket */
export async function startAnswering(socket: string, transport: 'lean' | 'grpc-js' = 'lean'): Promise<Answering> {
  const answering = { check: (_: Request): Answer => bareDenial('internal'), outagesAsErrors: false }
  const handler = createCheckHandler({
    check: (request) => answering.check(request),
    refuse: (reason) => bareDenial(reason),
    maxInFlight: 1024,
    maxMessage: 256 * 1024,
    maxDeadlineMs: 2000,
    get outagesAsErrors() {
      return answering.outagesAsErrors
    },
  })
  const options = { listener: { address: { kind: 'unix', path: socket }, tls: { mode: 'none' } }, handler, onFault: () => {} } as const
  const server = await (transport === 'lean' ? startLeanServer(options) : startGrpcServer({ ...options, reflection: false }))
  server.serving(true)
  return Object.assign(answering, { stop: () => server.close(0) })
}
