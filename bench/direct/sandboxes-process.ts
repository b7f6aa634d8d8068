/**
 * Sandboxes, in a process of their own: each is a port on loopback that answers anything with a few bytes. Told `open` by its parent, it
 * answers with the port of a new one; told `close`, it forgets them all.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n'
let servers: Server[] = []
let sockets = new Set<Socket>()

function open(): void {
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    // One request is in one piece: it is short, and on loopback.
    socket.on('data', () => socket.write(answer))
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
  servers.push(server)
}

process.on('message', (what) => {
  if (what === 'open') open()
  else {
    for (const socket of sockets) socket.destroy()
    for (const server of servers) server.close()
    servers = []
    sockets = new Set()
  }
})
process.on('disconnect', () => process.exit())
