import { type Server, type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { Processor } from '../core/processing.ts'
import { followStream } from './ext-proc-stream.ts'
import { bytesMethod, openGrpcListener } from './grpc-listener.ts'
import type { Listener } from './listener.ts'
import type { PeerTimes } from './peers.ts'
import { processMethod, processorService } from './protos.ts'
import type { CheckServer } from './transport.ts'

export interface ProcessorServerOptions {
  readonly listener: Listener
  readonly processor: Processor
  /** The largest body that the policy has anything looked for in, in bytes. */
  readonly maxBody: number
  /** Told of failed handshakes, refused peers, and of what the filter sends out of order; never a credential. */
  readonly onFault: (detail: string) => void
  /** For tests: milliseconds for each answer. */
  readonly budgetMs?: number
  /** For tests: streams at once, of all connections together. */
  readonly maxOpen?: number
  readonly peerTimes?: Partial<PeerTimes>
}

/** Beside a body a message holds headers (60 KiB and more, if Envoy is told so) and metadata. */
const beside = 1024 * 1024
/** Where the policy looks into small bodies only; a policy that is read later may look into larger ones. */
const leastReceive = 4 * 1024 * 1024
/**
 * Of the `message_timeout: 1s` of envoy/capture.yaml three quarters, so that our own answer arrives before Envoy gives up.
 */
const defaultBudgetMs = 750
/** A stream that follows its response lasts as long as the upstream takes; the others end with their first answer. */
const defaultMaxOpen = 4096

/**
 * Serves ExternalProcessor/Process and grpc.health.v1 with @grpc/grpc-js, under the rules of the check listener.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function startProcessorServer(options: ProcessorServerOptions): Promise<CheckServer> {
  const { listener, maxBody, onFault, peerTimes } = options
  return openGrpcListener({
    name: 'ext_proc',
    listener,
    service: processorService,
    add: (grpc) => addProcess(grpc, options),
    maxReceive: Math.max(leastReceive, maxBody + beside),
    maxStreams: options.maxOpen ?? defaultMaxOpen,
    onFault,
    peerTimes,
  })
}

function addProcess(
  grpc: Server,
  { processor, onFault, budgetMs = defaultBudgetMs, maxOpen = defaultMaxOpen }: ProcessorServerOptions,
): void {
  const { path, requestDeserialize, responseSerialize } = processMethod()
  let open = 0
  const process = (call: ServerDuplexStream<Buffer, Buffer>): void => {
    const crowded = open >= maxOpen
    open++
    let closed = false
    const over = (why: string): void => {
      if (closed) return
      closed = true
      open--
      stream.over(why)
    }
    const stream = followStream({
      processor,
      budgetMs,
      onFault,
      send: (answer, last) => {
        if (closed) return
        let bytes: Buffer
        try {
          bytes = responseSerialize(answer)
        } catch {
          onFault('an answer to ext_proc cannot be written')
          call.emit('error', { code: status.INTERNAL, details: 'the answer cannot be written' })
          return
        }
        call.write(bytes)
        if (last) call.end()
      },
    })
    call.on('data', (message: Buffer) => {
      if (crowded) return stream.refuse('overloaded', `more than ${maxOpen} ext_proc streams at once`)
      let request: ReturnType<typeof requestDeserialize>
      try {
        request = requestDeserialize(message)
      } catch {
        return stream.refuse('internal', 'ext_proc sent a message that cannot be decoded')
      }
      stream.take(request)
    })
    call.on('end', () => {
      over('Envoy ended the stream')
      call.end()
    })
    call.on('cancelled', () => over('Envoy cancelled the stream'))
    call.on('error', () => over('the stream failed'))
    call.on('close', () => over('the stream was closed'))
  }
  grpc.addService({ Process: bytesMethod(path, true) }, { Process: process })
}
