import { chmodSync, lstatSync, statSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { systemCode } from '../core/system-code.ts'
import { formatListenAddress, type ListenAddress, ListenFault } from './listener.ts'

/** rw for the owner and the group: Envoy shares a group with Postern, and nobody else may ask. */
const socketMode = 0o660

/**
 * Makes a server listen. A unix socket gets mode 0660 from its first instant; a stale one, where nobody answers,
 * is replaced.
 * @returns the address, with the port that the system chose
 * @throws {ListenFault}
 */
export async function bind(server: Server, address: ListenAddress): Promise<ListenAddress> {
  if (address.kind === 'unix') await clearStaleSocket(address.path)
  await listen(server, address)
  if (address.kind === 'unix') {
    chmodSync(address.path, socketMode)
    return address
  }
  const bound = server.address()
  return typeof bound === 'object' && bound ? { kind: 'tcp', host: bound.address, port: bound.port } : address
}

function listen(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => reject(new ListenFault(`${formatListenAddress(address)}: ${sentence(systemCode(cause))}`))
    server.once('error', fail)
    const done = (): void => {
      server.off('error', fail)
      resolve()
    }
    if (address.kind === 'tcp') {
      server.listen({ host: address.host, port: address.port, ipv6Only: false }, done)
      return
    }
    // listen() binds before it returns: no instant at which the file has a wider mode, and no other code sees the mask.
    const mask = process.umask(0o777 & ~socketMode)
    try {
      server.listen({ path: address.path }, done)
    } finally {
      process.umask(mask)
    }
  })
}

function sentence(code: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'another process listens there'
    case 'EACCES':
    case 'EPERM':
      return 'this user may not listen there'
    case 'EADDRNOTAVAIL':
      return 'this host has no such address'
    case 'ENOENT':
    case 'ENOTDIR':
      return 'the folder of the socket does not exist; make it, writable by this user'
    case 'EROFS':
      return 'the folder of the socket is on a read-only file system'
    default:
      return `cannot listen there (${code})`
  }
}

/** Removes the socket that a process left behind when it died. */
async function clearStaleSocket(path: string): Promise<void> {
  let isSocket: boolean
  try {
    // libuv reports a missing folder as EACCES.
    statSync(dirname(path))
  } catch (cause) {
    throw new ListenFault(`unix:${path}: ${sentence(systemCode(cause))}`)
  }
  try {
    isSocket = lstatSync(path).isSocket()
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return
    throw new ListenFault(`unix:${path}: ${sentence(systemCode(cause))}`)
  }
  if (!isSocket) throw new ListenFault(`unix:${path}: there is a file that is no socket; remove it, or choose another path`)
  const answer = await probe(path)
  if (answer === 'ENOENT') return
  if (answer !== 'ECONNREFUSED') throw new ListenFault(`unix:${path}: ${sentence(answer === 'connected' ? 'EADDRINUSE' : answer)}`)
  try {
    unlinkSync(path)
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT')
      throw new ListenFault(`unix:${path}: the socket that was left behind cannot be removed (${systemCode(cause)})`)
  }
}

/** @returns `connected`, or the error code; `EADDRINUSE` where whoever listens does not take the connection */
function probe(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const end = (result: string): void => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(1000, () => end('EADDRINUSE'))
    socket.once('connect', () => end('connected'))
    socket.once('error', (cause) => end(systemCode(cause) === 'EAGAIN' ? 'EADDRINUSE' : systemCode(cause)))
  })
}
