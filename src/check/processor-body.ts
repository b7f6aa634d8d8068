import type { ResponseHeaders } from '../core/capture-place.ts'

/** Whether a body has to be decoded before it can be read (RFC 9110, section 8.4). */
export function isEncoded(headers: ResponseHeaders): boolean {
  const codings = headers.get('content-encoding') ?? []
  return codings.some((each) => !['', 'identity'].includes(each.trim().toLowerCase()))
}

/** Whether `content-length` says already that a body is too large. */
export function bodyTooLarge(headers: ResponseHeaders, most: number): boolean {
  const length = Number(headers.get('content-length')?.[0] ?? 0)
  return length > most
}
