/** The code of a system error (`ENOENT`), to be told apart by and shown; `unknown error` where it has none. */
export const systemCode = (cause: unknown): string =>
  cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : 'unknown error'
