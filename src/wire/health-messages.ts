import { Wire } from './read-wire.ts'
import { WireWriter } from './write-wire.ts'

/** HealthCheckResponse.ServingStatus */
export const servingStatus = { serving: 1, notServing: 2, serviceUnknown: 3 } as const
export type ServingStatus = (typeof servingStatus)[keyof typeof servingStatus]

// grpc.health.v1, its tags: HealthCheckRequest.service = 1, HealthCheckResponse.status = 1, HealthListResponse.statuses = 1
const service = 0x0a
const status = 0x08
const statuses = 0x0a
const entryKey = 0x0a
const entryValue = 0x12

/** The service that a HealthCheckRequest asks about. @throws {WireFault} */
export function readHealthRequest(message: Buffer): string {
  const wire = new Wire(message)
  const end = message.length
  let name = ''
  while (wire.pos < end) {
    const tag = wire.tag(end)
    if (tag === service) {
      const stop = wire.span(end)
      name = message.toString('utf8', wire.pos, stop)
      wire.pos = stop
    } else wire.skip(tag, end)
  }
  return name
}

/** A HealthCheckResponse. */
export const healthResponse = (value: ServingStatus): Buffer => Buffer.of(status, value)

/** A HealthListResponse. */
export function healthListResponse(services: readonly string[], value: ServingStatus): Buffer {
  const writer = new WireWriter(256)
  for (const name of services.toReversed()) {
    const entry = writer.written
    writer.raw(healthResponse(value))
    writer.delimited(entryValue, entry)
    const key = writer.written
    writer.utf8(name)
    writer.delimited(entryKey, key)
    writer.delimited(statuses, entry)
  }
  return writer.copy()
}
