import { createServer } from 'node:net'

// Below the ports that systems give to outgoing connections: one of those could take it before the program does.
const [lowest, highest] = [20_000, 32_000]

const isFree = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const server = createServer()
    server.once('error', () => done(false))
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)))
  })

/** A TCP port of 127.0.0.1 that was free a moment ago, for programs that cannot bind port 0 and tell. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest))
    if (await isFree(port)) return port
  }
  throw new Error(`no free port from ${lowest} to ${highest} in a hundred attempts`)
}

/** Several different ones. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}
