import { healthListResponse, healthResponse, readHealthRequest, type ServingStatus, servingStatus } from './health-messages.ts'
import type { Call, Method } from './lean-call.ts'
import { code, refusal } from './lean-status.ts'

const service = '/grpc.health.v1.Health'
/** Characters of a name that is told back: a header that is too long would end the connection. */
const longestName = 200

/** grpc.health.v1 of one server. */
export interface LeanHealth {
  /** By `:path`. */
  readonly methods: ReadonlyMap<string, Method>
  readonly set: (up: boolean) => void
  /** NOT_SERVING, and the end of all Watch calls: they would hold up the drain. */
  readonly end: () => void
}

const undecodable = refusal(code.internal, 'Error deserializing request')

/** @param services names that are asked for; '' is the whole server */
export function leanHealth(services: readonly string[]): LeanHealth {
  const names = new Set(services)
  const watching = new Map<Call, string>()
  let now: ServingStatus = servingStatus.notServing

  const nameIn = (call: Call, message: Buffer): string | undefined => {
    try {
      return readHealthRequest(message)
    } catch {
      call.refuse(undecodable)
      return undefined
    }
  }
  const check: Method = (call, message) => {
    const name = nameIn(call, message)
    if (name === undefined) return
    if (names.has(name)) call.answer(healthResponse(now))
    else call.refuse(refusal(code.notFound, `Health status unknown for service ${name.slice(0, longestName)}`))
  }
  const list: Method = (call) => {
    call.answer(healthListResponse(services, now))
  }
  const watch: Method = (call, message) => {
    const name = nameIn(call, message)
    if (name === undefined) return
    watching.set(call, name)
    call.stream.once('close', () => watching.delete(call))
    call.write(healthResponse(names.has(name) ? now : servingStatus.serviceUnknown))
  }
  const set = (status: ServingStatus): void => {
    if (status === now) return
    now = status
    for (const [call, name] of watching) if (names.has(name)) call.write(healthResponse(status))
  }
  return {
    methods: new Map([
      [`${service}/Check`, check],
      [`${service}/List`, list],
      [`${service}/Watch`, watch],
    ]),
    set: (up) => set(up ? servingStatus.serving : servingStatus.notServing),
    end: () => {
      set(servingStatus.notServing)
      for (const call of watching.keys()) call.finish()
      watching.clear()
    },
  }
}
