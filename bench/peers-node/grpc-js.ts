/** What @grpc/grpc-js with proto-loader costs by itself: it reads the whole CheckRequest, and answers the same each time. */
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js'
import { cannedAnswer, checkMethod } from './answer.ts'
import { listen } from './listen.ts'

const server = new Server({ 'grpc.max_concurrent_streams': 1000 })
const definition: ServiceDefinition = { Check: checkMethod() }
server.addService(definition, { Check: (_call: unknown, done: (error: null, answer: object) => void) => done(null, cannedAnswer) })
listen((at, done) => {
  const address = 'path' in at ? `unix:${at.path}` : `${at.host}:${at.port}`
  server.bindAsync(address, ServerCredentials.createInsecure(), (error) => {
    if (error) throw error
    done()
  })
})
