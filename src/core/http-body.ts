// JSON bodies of the admin and the broker API, read and refused in one way.

/** Bodies stop here, in bytes. */
export const maxBodyBytes = 1024 * 1024

/** What reading asks of a schema: that of zod has more. */
export interface BodySchema<T> {
  readonly safeParse: (data: unknown) =>
    | { readonly success: true; readonly data: T }
    | {
        readonly success: false
        readonly error: { readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[] }
      }
}

/** Why a body is refused; the sentence never repeats what was sent. */
export interface BodyFault {
  readonly status: 400 | 413 | 415
  readonly reason: 'body_too_large' | 'not_json' | 'bad_body'
  readonly detail: string
}

export type ReadBody<T> = { readonly ok: true; readonly data: T } | { readonly ok: false; readonly fault: BodyFault }

/** The body as text; undefined where it is larger than {@link maxBodyBytes}, whatever its length was said to be. */
export async function readText(request: Request): Promise<string | undefined> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) return undefined
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of request.body ?? []) {
    size += part.byteLength
    if (size > maxBodyBytes) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

const refuse = (status: BodyFault['status'], reason: BodyFault['reason'], detail: string) =>
  ({ ok: false, fault: { status, reason, detail } }) as const

/**
 * Reads a JSON body by its schema.
 * @param empty what no body at all stands for; undefined: a body is required
 */
export async function readJsonBody<T>(request: Request, schema: BodySchema<T>, empty?: unknown): Promise<ReadBody<T>> {
  const text = await readText(request)
  if (text === undefined) return refuse(413, 'body_too_large', `a body has at most ${maxBodyBytes} bytes`)
  const type = request.headers.get('content-type')
  // A form of another site can send text/plain without asking first; JSON it cannot.
  if (text !== '' && type !== null && !/^application\/(?:[a-z0-9.+-]+\+)?json\s*(?:;|$)/i.test(type)) {
    return refuse(415, 'not_json', 'expected content-type: application/json')
  }
  let data: unknown = empty
  if (text !== '' || empty === undefined) {
    try {
      data = JSON.parse(text)
    } catch {
      return refuse(400, 'not_json', 'the body is no JSON')
    }
  }
  const read = schema.safeParse(data)
  if (read.success) return { ok: true, data: read.data }
  return refuse(400, 'bad_body', issuesText(read.error.issues))
}

/** What was expected, in one line; at most the first five faults. */
export const issuesText = (issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): string =>
  issues
    .slice(0, 5)
    .map(({ path, message }) => (path.length > 0 ? `${path.map(String).join('.')}: ${message}` : message))
    .join('; ')
