import { equal, throws } from 'node:assert/strict'
import { createMembers } from '../../src/adapters/redis-cluster-members.ts'
import { readView } from '../../src/adapters/redis-cluster-view.ts'
import type { RedisLink, RedisNode } from '../../src/adapters/redis-link.ts'
import { slotOf } from '../../src/adapters/redis-slot.ts'
import { Unavailable } from '../../src/core/ports.ts'

const [a, b] = ['a', 'b'].map((letter) => letter.repeat(40)) as [string, string]
const server = { host: '127.0.0.1', port: 7001 }
const said = (slots: string, others: string) =>
  readView(
    `${a} 127.0.0.1:7001@17001 myself,master - 0 0 1 connected ${slots}\n${b} 127.0.0.1:7002@17002 master - 0 0 2 connected ${others}\n`,
    server,
    false,
  )

describe('members of a Redis Cluster', () => {
  const members = () =>
    createMembers({
      open: ({ id }) =>
        ({ start: async () => {}, nodes: () => [{ id } as RedisNode], close: async () => {} }) as Partial<RedisLink> as RedisLink,
      view: async () => {
        throw new Unavailable('nobody is asked')
      },
      moved: () => {},
    })

  it('are asked for a key of theirs by every confirmed write, and say at once that they have none', () => {
    const all = members()
    all.learn([said(`0-16383 [5->-${b}]`, '')])
    const begun = performance.now()
    for (let i = 0; i < 1000; i++) throws(() => all.keyAt(b, 'confirmed'), Unavailable)
    // A search takes some 100 ms each time, in which nothing else is answered.
    const ms = performance.now() - begun
    equal(ms < 1000, true, `${ms} ms`)
  })

  it('give a key that stays with them, and another one when that moves', () => {
    const all = members()
    all.learn([said('0-16382', '16383')])
    const begun = performance.now()
    for (let i = 0; i < 1000; i++) equal(slotOf(all.keyAt(b, 'confirmed')), 16_383)
    const ms = performance.now() - begun
    equal(ms < 1000, true, `${ms} ms`)
    const first = slotOf(all.keyAt(a, 'confirmed'))
    all.learn([said(`0-16382 [${first}->-${b}]`, '16383')])
    equal(slotOf(all.keyAt(a, 'confirmed')) === first, false)
  })
})
