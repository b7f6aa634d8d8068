export type At = { readonly path: string } | { readonly host: string; readonly port: number }

/** Listens where the first argument says (`unix:/path` or `host:port`), and ends with 0 when told to. */
export function listen(start: (at: At, done: () => void) => void): void {
  const address = process.argv[2] ?? ''
  const colon = address.lastIndexOf(':')
  const at: At = address.startsWith('unix:')
    ? { path: address.slice('unix:'.length) }
    : { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0))
  start(at, () => process.stdout.write('listening\n'))
}
