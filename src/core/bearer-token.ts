// RFC 9110, section 5.5: what may stand in a field without being read in two ways; a token holds no white space either.
const visible = /^[!-~]+$/

/** A token that is to stand in `Authorization`: known to be visible ASCII, so that whoever writes it need not look again. */
export class BearerToken {
  /** `Bearer <token>` (RFC 6750, section 2.1). */
  readonly authorization: string

  private constructor(authorization: string) {
    this.authorization = authorization
  }

  /** @returns undefined where the text could not be written into a header as it is */
  static of(token: string): BearerToken | undefined {
    return visible.test(token) ? new BearerToken(`Bearer ${token}`) : undefined
  }

  /** The token itself. */
  get text(): string {
    return this.authorization.slice('Bearer '.length)
  }
}
