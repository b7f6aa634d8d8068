import { deepEqual, equal, notEqual, throws } from 'node:assert/strict'
import { type ClusterView, mapOf, readView } from '../../src/adapters/redis-cluster-view.ts'
import { Unavailable } from '../../src/core/ports.ts'

const at = { host: '10.0.0.9', port: 6379 }
/** A line of CLUSTER NODES: id, flags, epoch, slots. */
const line = (id: string, flags: string, epoch: number, slots = '', address = `10.0.0.${id}:6379@16379`) =>
  `${id} ${address} ${flags} - 0 1700000000000 ${epoch} connected ${slots}`.trim()
const view = (...lines: string[]): ClusterView => readView(`${lines.join('\n')}\n`, at, false)
const owners = (...views: ClusterView[]) => {
  const map = mapOf(views)
  return [0, 5, 10, 15, 20].map((slot) => map.ownerOf(slot)?.id)
}

describe('what nodes of a Redis Cluster say of it', () => {
  it('is read with addresses, names, slots and what is on its way', () => {
    const read = readView(
      [
        line('1', 'myself,master', 3, '0-10 12 [11->-2] [13-<-2]', ':6379@16379,,shard-id=aa'),
        line('2', 'master,fail?', 2, '13-20', '10.0.0.2:6380@16380,redis-2.example'),
        line('3', 'slave', 3, '', '[::1]:6379@16379'),
        line('4', 'handshake', 0),
        line('5', 'master,noaddr', 0, '', ':0@0'),
      ].join('\n'),
      at,
      true,
    )
    deepEqual(
      read.nodes.map(({ id, host, port, primary, failing }) => [id, host, port, primary, failing]),
      [
        ['1', '10.0.0.9', 6379, true, false],
        ['2', 'redis-2.example', 6380, true, true],
        ['3', '::1', 6379, false, false],
      ],
    )
    deepEqual(read.myself.ranges, [
      [0, 10],
      [12, 12],
    ])
    deepEqual([...read.moving], [[11, '2']])
    equal(readView(line('2', 'myself,master', 2, '', '10.0.0.2:6380@16380,redis-2.example'), at, false).myself.host, '10.0.0.2')
    for (const text of ['', 'ERR', line('1', 'master', 1)]) throws(() => readView(text, at, false), Unavailable)
  })

  it('is worth nothing from a node that reaches half of the primaries, or fewer', () => {
    const of = (...failing: string[]) =>
      view(
        ...['1', '2', '3', '4'].map((id) =>
          line(id, `${id === '1' ? 'myself,' : ''}master${failing.includes(id) ? ',fail?' : ''}`, 1, `${id}0`),
        ),
      )
    equal(of().quorate, true)
    equal(of('2').quorate, true)
    equal(of('2', '3').quorate, false)
    // Those without slots have no vote.
    equal(view(line('1', 'myself,master', 1, '0-20'), line('2', 'master,fail', 1), line('3', 'master,fail', 1)).quorate, true)
  })

  it('gives a slot to the node of the highest epoch', () => {
    const old = view(line('1', 'myself,master', 1, '0-20'), line('2', 'slave', 1))
    const next = view(line('1', 'master,fail', 1), line('2', 'myself,master', 7, '0-20'))
    deepEqual(owners(old), ['1', '1', '1', '1', '1'])
    deepEqual(owners(old, next), ['2', '2', '2', '2', '2'])
    deepEqual(owners(next, old), ['2', '2', '2', '2', '2'])
    // Seen by a third, which knows of both.
    const third = view(line('1', 'master,fail', 1), line('2', 'master', 7, '0-20'), line('3', 'myself,master', 2, '30'))
    deepEqual(owners(old, third), ['2', '2', '2', '2', '2'])
  })

  it('takes what a node says of itself before what others say of it', () => {
    const one = view(line('1', 'myself,master', 1, '0-9'), line('2', 'master', 2, '10-20'))
    const two = view(line('1', 'master', 1, '0-20'), line('2', 'myself,master', 2, '15-20'))
    deepEqual(owners(one, two), ['1', '1', undefined, '2', '2'])
    equal(mapOf([one, two]).unowned, 16384 - 16)
  })

  it('is another map where a slot moved or is on its way, and the same where only times, flags and replicas changed', () => {
    const map = (...lines: string[]) => mapOf([view(...lines)]).signature
    const first = map(line('1', 'myself,master', 1, '0-9'), line('2', 'master', 2, '10-20'))
    equal(map(line('1', 'myself,master', 1, '0-9'), line('2', 'master,fail?', 2, '10-20'), line('3', 'slave', 2)), first)
    notEqual(map(line('1', 'myself,master', 3, '0-10'), line('2', 'master', 2, '11-20')), first)
    notEqual(map(line('1', 'myself,master', 1, '0-9 [9->-2]'), line('2', 'master', 2, '10-20')), first)
    const moving = mapOf([view(line('1', 'myself,master', 1, '0-9 [9->-2]'), line('2', 'master', 2, '10-20'))])
    deepEqual([moving.nextOf(9)?.id, moving.nextOf(8), moving.moving], ['2', undefined, [9]])
    // From somebody who has not got it any more.
    const stale = view(line('1', 'master', 1), line('2', 'myself,master', 2, '0-20 [5->-1]'))
    const taken = view(line('1', 'myself,master', 9, '5'), line('2', 'master', 2, '0-4 6-20'))
    deepEqual(mapOf([stale, taken]).moving, [])
  })
})
