import assert from 'node:assert/strict'
import { startGrpcServer } from '../../src/wire/grpc-server.ts'
import { asIs, makeRig } from './transport-rig.ts'

// What both transports do is in transport*.test.ts.
describe('the grpc-js transport with reflection', () => {
  const rig = makeRig((options) => startGrpcServer({ ...options, reflection: true }))

  afterEach(rig.clear)

  it('answers reflection', async () => {
    const client = rig.dial(await rig.start('127.0.0.1:0'))
    const ask = (request: Buffer): Promise<string> =>
      new Promise((resolve, reject) => {
        const call = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', asIs, asIs)
        call.on('data', (reply: Buffer) => resolve(reply.toString('latin1')))
        call.on('error', reject)
        call.write(request)
        call.end()
      })
    const field = (tag: number, text: string): Buffer => Buffer.concat([Buffer.from([tag, text.length]), Buffer.from(text)])
    // ServerReflectionRequest: list_services = 7, file_containing_symbol = 4.
    const services = await ask(field(0x3a, '*'))
    assert(services.includes('envoy.service.auth.v3.Authorization') && services.includes('grpc.health.v1.Health'))
    const file = await ask(field(0x22, 'envoy.service.auth.v3.Authorization'))
    assert(file.includes('CheckRequest') && file.includes('CheckResponse'))
  })
})
