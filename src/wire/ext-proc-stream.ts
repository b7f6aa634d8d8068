import type { Soon } from '../core/ports.ts'
import type { ImmediateAnswer, Processor, RequestStep, ResponseFollower, ResponseStep } from '../core/processing.ts'
import { bareDenial } from './bare-denial.ts'
import { isLocalReply, kindOf, type MessageKind, ownMetadata, readHeaders, statusOf } from './ext-proc-decode.ts'
import { answered, bodyGoesOn, headersGoOn, modes, requestGoesOn } from './ext-proc-encode.ts'
import type { HttpBodyMessage, HttpHeadersMessage, ProcessingRequestMessage, ProcessingResponseMessage } from './ext-proc-messages.ts'

export interface StreamNeeds {
  readonly processor: Processor
  /** Milliseconds for each answer, less than Envoy's `message_timeout`. */
  readonly budgetMs: number
  /** Sends one answer; after the last one nothing more is wanted, and the stream ends well. */
  readonly send: (answer: ProcessingResponseMessage, last: boolean) => void
  /** Told of what no Envoy that is configured as it should be says, and of answers that came too late. */
  readonly onFault: (detail: string) => void
}

/** The processing of one request and its response. */
export interface ProcessingStream {
  /** A message of Envoy. Never throws. */
  readonly take: (message: ProcessingRequestMessage) => void
  /** Ends it for a reason of the server's: its own, or a message that cannot be read. */
  readonly refuse: (why: WireRefusal, detail: string) => void
  /** Envoy has ended it. */
  readonly over: (why: string) => void
}

/** Why the wire answers for the processor. */
export type WireRefusal = 'overloaded' | 'internal'

/** What of a response is being judged: its headers, with a body to come or without one, or that body. */
type Place = 'headers' | 'headers alone' | 'body'

/**
 * Follows one stream of envoy.service.ext_proc.v3: the request's headers, then where the processor wants them the response's
 * headers, then its body. Whatever else Envoy says, or says in another order, is answered with 500, a late answer with 503:
 * so nothing passes that was not decided on. Envoy holds the request, or the response, until it is answered.
 */
export function followStream({ processor, budgetMs, send, onFault }: StreamNeeds): ProcessingStream {
  // What Envoy may say next; undefined while it waits for an answer.
  let expected: MessageKind | undefined = 'request_headers'
  let ended = false
  // Told of the end, as long as nobody else is about to tell it.
  let follower: ResponseFollower | undefined

  const finish = (answer: ProcessingResponseMessage): void => {
    ended = true
    follower = undefined
    send(answer, true)
  }
  const lose = (why: string): void => {
    ended = true
    follower?.lost(why)
    follower = undefined
  }
  const refuse = (why: WireRefusal, detail: string): void => {
    if (ended) return
    onFault(detail)
    lose(detail)
    send(answered(refusal(why)), true)
  }
  const safely = (act: () => void): void => {
    try {
      act()
    } catch {
      refuse('internal', 'what the processor decided cannot be said to Envoy')
    }
  }
  const take = (message: ProcessingRequestMessage) => {
    if (ended) return
    if (message.observability_mode) return refuse('internal', 'ext_proc has observability_mode: true, so that no answer is heeded')
    const kind = kindOf(message)
    if (kind === 'response_headers' && expected === 'request_headers' && isLocalReply(message)) return finish(headersGoOn(modes.nothing))
    if (kind === undefined || kind !== expected)
      return refuse('internal', `ext_proc sent ${kind ?? 'no message, or two in one'}, expected ${expected ?? 'nothing before the answer'}`)
    expected = undefined
    if (message.request_headers) request(message, message.request_headers)
    else if (message.response_headers) headers(message.response_headers)
    else if (message.response_body) body(message.response_body)
  }

  const request = (message: ProcessingRequestMessage, sent: HttpHeadersMessage) => {
    const read = readHeaders(sent)
    const metadata = ownMetadata(message)
    if (!read || metadata === 'unreadable') return refuse('internal', 'ext_proc sent a request that cannot be read')
    const asked = {
      metadata: metadata === 'absent' ? undefined : metadata,
      method: read.pseudo.get(':method') ?? '',
      path: read.pseudo.get(':path') ?? '',
    }
    const failed = (): void => refuse('internal', 'the processor failed on a request')
    within(
      budgetMs,
      () => processor.request(asked),
      (step) => safely(() => requestStep(step)),
      failed,
      () => refuse('overloaded', 'a request was not judged in time'),
    )
  }
  const requestStep = (step: RequestStep) => {
    if (ended) {
      if (step.kind === 'follow') step.response.lost('the stream ended before the request went on')
      return
    }
    if (step.kind === 'skip') return finish(requestGoesOn([], modes.nothing))
    if (step.kind === 'answer') return finish(answered(step.answer))
    follower = step.response
    expected = 'response_headers'
    send(requestGoesOn(step.remove, step.body ? modes.body : modes.headers), false)
  }

  const headers = (message: HttpHeadersMessage) => {
    const read = readHeaders(message)
    const status = read && statusOf(read.pseudo)
    if (!read || status === undefined) return refuse('internal', 'ext_proc sent response headers that cannot be read')
    const ends = message.end_of_stream === true
    ask((response) => response.headers(status, read.fields, ends), ends ? 'headers alone' : 'headers')
  }
  const body = (message: HttpBodyMessage): void => {
    // Buffered by Envoy, it comes in one piece, whose end is not told where trailers follow.
    ask((response) => response.body(message.body ?? Buffer.alloc(0)), 'body')
  }

  const ask = (work: (response: ResponseFollower) => Soon<ResponseStep>, at: Place): void => {
    const response = follower
    if (!response) return
    // While it decides, what it decides is its end.
    follower = undefined
    const failed = (): void => {
      response.lost('the processor failed on a response')
      refuse('internal', 'the processor failed on a response')
    }
    const done = (step: ResponseStep): void => {
      if (step.kind === 'body') {
        if (ended) response.lost('the stream ended before the body came')
        else wantBody(response, at)
      } else if (!ended) safely(() => responseStep(step, at))
    }
    within(
      budgetMs,
      () => work(response),
      done,
      failed,
      () => refuse('overloaded', 'a response was not judged in time'),
    )
  }
  const wantBody = (response: ResponseFollower, at: Place) => {
    follower = response
    if (at !== 'headers') return refuse('internal', 'the processor wants a body that does not come')
    expected = 'response_body'
    send(headersGoOn(modes.body), false)
  }
  const responseStep = (step: Exclude<ResponseStep, { kind: 'body' }>, at: Place) => {
    if (step.kind === 'answer') return finish(answered(step.answer))
    if (at === 'body') return finish(bodyGoesOn(step))
    if (step.kind === 'pass') return finish(headersGoOn(modes.nothing))
    refuse('internal', 'the processor replaces a body that it has not seen')
  }

  return {
    take,
    refuse,
    over: (why) => {
      if (!ended) lose(why)
    },
  }
}

function refusal(why: WireRefusal): ImmediateAnswer {
  const { status, headers, body } = bareDenial(why)
  return { status, headers, body, details: `postern_${why}` }
}

/**
 * @param done told of the result, in time or not
 * @param failed told where the work throws or rejects, in time or not
 * @param late told where it takes longer than `budgetMs`; `done` or `failed` still comes
 */
function within<T>(budgetMs: number, work: () => Soon<T>, done: (result: T) => void, failed: () => void, late: () => void): void {
  let result: Soon<T>
  try {
    result = work()
  } catch {
    failed()
    return
  }
  if (!(result instanceof Promise)) {
    done(result)
    return
  }
  const timer = setTimeout(late, budgetMs)
  result.then(
    (value) => {
      clearTimeout(timer)
      done(value)
    },
    () => {
      clearTimeout(timer)
      failed()
    },
  )
}
