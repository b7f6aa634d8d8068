import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** One kind of request of a load. */
export interface Ask {
  readonly name: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
}

/** One request and its answer; times are `performance.now()`. */
export interface Shot {
  readonly ask: string
  readonly sentAt: number
  readonly doneAt: number
  /** 0: there was no answer. */
  readonly status: number
  /** Of the problem body; `ok` where the upstream answered. */
  readonly reason: string
  readonly decisionId: string
}

export interface Load {
  /** All answered so far. */
  readonly shots: readonly Shot[]
  /** Sends no more, and waits for what is under way. */
  readonly stop: () => Promise<readonly Shot[]>
}

const tickMs = 20

/**
 * A steady load over connections that are kept, of a few kinds of requests in turn.
 * @param perSecond requests in all, whatever became of those before
 */
export function startLoad(port: number, perSecond: number, asks: readonly Ask[]): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 })
  const shots: Shot[] = []
  const began = performance.now()
  let sent = 0
  let open = 0

  const shoot = ({ name, path, headers }: Ask): void => {
    const sentAt = performance.now()
    open += 1
    const done = (status: number, reason: string, decisionId: string): void => {
      open -= 1
      shots.push({ ask: name, sentAt, doneAt: performance.now(), status, reason, decisionId })
    }
    const asking = request({ host: '127.0.0.1', port, path, headers, agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const status = response.statusCode ?? 0
        const body = Buffer.concat(chunks).toString()
        done(status, status === 200 ? 'ok' : reasonIn(body), decisionIn(status, body))
      })
    })
    asking.on('error', () => done(0, 'no answer', ''))
    asking.end()
  }
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) * perSecond) / 1000)
    while (sent < due) shoot(asks[sent++ % asks.length]!)
  }, tickMs)

  return {
    shots,
    stop: async () => {
      clearInterval(timer)
      while (open > 0) await sleep(10)
      agent.destroy()
      return shots
    },
  }
}

/** The upstream echoes what it received, the id of the decision among it. */
function decisionIn(status: number, body: string): string {
  const parsed = json(body)
  const headers = parsed['headers'] as Record<string, string> | undefined
  return status === 200 ? (headers?.['x-postern-decision'] ?? '') : String(parsed['decision_id'] ?? '')
}

const reasonIn = (body: string): string => String(json(body)['reason'] ?? 'no reason')

function json(body: string): Record<string, unknown> {
  try {
    return JSON.parse(body) as Record<string, unknown>
  } catch {
    return {}
  }
}
