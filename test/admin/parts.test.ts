import assert from 'node:assert/strict'
import { admitsHost, hostName, hostsOf } from '../../src/admin/hosts.ts'
import { readinessOf } from '../../src/admin/status.ts'
import { createLimit, limitKey } from '../../src/core/limit.ts'

describe('limit', () => {
  it('gives a burst, then so many a second, for each address', () => {
    let now = 0
    const limit = createLimit(5, 10, () => now)
    for (let i = 0; i < 10; i++) assert.equal(limit.take('a'), 0)
    assert.equal(limit.take('a'), 1)
    assert.equal(limit.take('b'), 0)
    now = 1000
    for (let i = 0; i < 5; i++) assert.equal(limit.take('a'), 0)
    assert.equal(limit.take('a'), 1)
    now = 60_000
    for (let i = 0; i < 10; i++) assert.equal(limit.take('a'), 0)
    assert.equal(limit.take('a'), 1)
  })

  it('remembers a bounded number of addresses', () => {
    let now = 0
    const limit = createLimit(1, 1, () => now, 3)
    for (const address of ['a', 'b', 'c', 'd']) assert.equal(limit.take(address), 0)
    assert.equal(limit.take('d'), 1)
    assert.equal(limit.take('a'), 0)
    now = 10_000
    assert.equal(limit.take('d'), 0)
  })

  it('counts the /64 of an IPv6 host and the v4 in a mapped address as one', () => {
    assert.equal(limitKey('2001:db8:1:2::5'), limitKey('2001:DB8:1:2:ffff::9'))
    assert.notEqual(limitKey('2001:db8:1:2::5'), limitKey('2001:db8:1:3::5'))
    assert.equal(limitKey('::ffff:10.0.0.1'), '10.0.0.1')
    assert.equal(limitKey('::1'), '0:0:0:0')
    assert.equal(limitKey(''), 'local')
  })
})

describe('hosts', () => {
  it('are the address, and the loopback names where it is bound there', () => {
    assert.deepEqual(hostsOf('10.1.2.3'), ['10.1.2.3'])
    assert.deepEqual(hostsOf('::1'), ['[::1]', 'localhost', '127.0.0.1'])
    assert.ok(hostsOf('0.0.0.0').includes('localhost'))
  })

  it('are every address, and no other name, where it is bound to all', () => {
    for (const anywhere of ['0.0.0.0', '::']) {
      for (const host of ['10.0.0.3', '[2001:db8::1]', 'localhost']) assert.ok(admitsHost(hostsOf(anywhere), host), host)
      for (const host of ['evil.example', '10.0.0.3.evil.example', '1.2.3']) assert.ok(!admitsHost(hostsOf(anywhere), host), host)
    }
    assert.ok(!admitsHost(hostsOf('10.0.0.1'), '10.0.0.3'))
  })

  it('are read strictly', () => {
    assert.equal(hostName('Example.COM:8080'), 'example.com')
    assert.equal(hostName('[::1]:1'), '[::1]')
    for (const bad of [undefined, '', 'a,b', 'a b', 'user@host', 'host:port', 'http://host', '::1'])
      assert.equal(hostName(bad), undefined, String(bad))
  })
})

describe('readiness', () => {
  it('names everything that is missing', () => {
    const all = { listening: true, draining: false, policyLoaded: true, keysReady: true }
    assert.deepEqual(readinessOf(all), { ready: true, reasons: [] })
    for (const change of [{ listening: false }, { draining: true }, { policyLoaded: false }, { keysReady: false }]) {
      const { ready, reasons } = readinessOf({ ...all, ...change })
      assert.deepEqual([ready, reasons.length], [false, 1])
    }
  })
})
