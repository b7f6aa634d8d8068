/** The media type of problem details. */
export const problemType = 'application/problem+json'

/**
 * Problem details (RFC 9457) of an HTTP API of ours.
 * @param area of the API: stands in `type`
 * @param reason a word for programs
 * @param detail a sentence for people; never holds what was sent
 */
export const problemText = (
  area: 'admin' | 'broker',
  { status, title, reason, detail }: { readonly status: number; readonly title: string; readonly reason: string; readonly detail: string },
): string => JSON.stringify({ type: `urn:postern:${area}:${reason}`, title, status, reason, detail })

/** The token of `Authorization: Bearer …` (RFC 6750, section 2.1); undefined where the header is anything else. */
export function bearerOf(header: string | undefined): string | undefined {
  const match = /^Bearer +([A-Za-z0-9._~+/=-]+)$/i.exec(header ?? '')
  return match?.[1]
}
