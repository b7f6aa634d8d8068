import assert from 'node:assert/strict'
import { canMeasure } from '../support/process-cost.ts'
import { type Service, startService, type Transport } from './service.ts'
import type { slowAttacks } from './slow-attacks.ts'
import { underAttack } from './under-attack.ts'

type Name = keyof typeof slowAttacks

/** What each has to get to, to have been one. */
const bites: Readonly<Record<Name, Readonly<Record<string, number>>>> = {
  'checks whose answers are not read': { connections: 16, frames: 16 * 2 * 1024 },
  'messages that come a byte at a time': { connections: 64, frames: 64 * 64 * 5 },
  'large messages that do not end': { connections: 32, frames: 1_000 },
  'more connections than are kept': { connections: 1_500, thrownOut: 1 },
  'connections that say nothing': { connections: 500 },
  'connections that say half a preface': { connections: 500 },
  'TLS handshakes that do not begin': { connections: 300 },
  'TLS handshakes that do not end': { connections: 300 },
  '4,000 connections': { connections: 4_000 },
}

const overTls = (name: string): boolean => name.startsWith('TLS')
const all = Object.keys(bites) as Name[]
const of: Readonly<Record<Transport, readonly Name[]>> = {
  lean: all,
  'grpc-js': ['messages that come a byte at a time'],
}

for (const [transport, names] of Object.entries(of) as [Transport, Name[]][]) {
  for (const tls of [false, true]) {
    const here = names.filter((name) => overTls(name) === tls)
    if (here.length === 0) continue
    describe(`${transport}${tls ? ' with TLS' : ''} answers others beside`, function () {
      this.timeout(60_000)
      let service: Service

      before(async function () {
        if (!canMeasure) return this.skip()
        service = await startService(transport, tls)
      })
      after(() => service?.stop())

      for (const name of here) {
        it(name, async () => {
          const counts = await underAttack(service, name, bites[name])
          for (const [what, least] of Object.entries(bites[name]))
            assert.ok(counts[what]! >= least, `only ${counts[what]} ${what}: no attack`)
          assert.ok(service.postern.program.running())
        })
      }
    })
  }
}
