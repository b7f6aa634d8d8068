import assert from 'node:assert/strict'
import { worlds } from './world.ts'

const order = { name: 'crawler', scopes: ['read:data:*'], tokenTtl: undefined }

describe('apps of the broker', () => {
  const open = worlds()

  it('are made, read, listed, changed and removed, each time told', async () => {
    const world = await open()
    const { apps } = world
    const { app, secret } = await apps.create(order, 'admin')
    assert.deepEqual(await apps.get(app.id), app)
    assert.deepEqual((await apps.list(10)).apps, [app])
    world.at.ms += 5_000
    const changed = await apps.update(app.id, { scopes: ['read:*'], tokenTtl: 60 }, 'admin')
    assert.deepEqual(changed, { ...app, scopes: ['read:*'], tokenTtl: 60, updatedAt: app.createdAt + 5 })
    assert.deepEqual(await apps.authenticate(app.id, secret), changed)
    assert.equal(await apps.remove(app.id, 'admin'), true)
    assert.equal(await apps.remove(app.id, 'admin'), false)
    assert.equal(await apps.get(app.id), undefined)
    assert.equal(await apps.update(app.id, { name: 'x' }, 'admin'), undefined)
    assert.equal(await apps.authenticate(app.id, secret), undefined)
    assert.deepEqual(
      world.events.map(({ type, target, actor }) => [type, target, actor]),
      ['app_created', 'app_updated', 'app_removed'].map((type) => [type, app.id, 'admin']),
    )
    assert.ok(!JSON.stringify(world.events).includes(secret))
  })

  it('keep of the secret only its hash', async () => {
    const world = await open()
    const { app, secret } = await world.apps.create(order, 'admin')
    const stored = await world.state.records.read('app', app.id)
    assert.ok(!JSON.stringify(stored).includes(secret))
  })

  it('lose no change of several that are made at once', async () => {
    const world = await open()
    const { app } = await world.apps.create(order, 'admin')
    await Promise.all([
      world.apps.update(app.id, { name: 'renamed' }, 'a'),
      world.apps.update(app.id, { tokenTtl: 7 }, 'b'),
      world.apps.update(app.id, { scopes: ['x:y:z'] }, 'c'),
    ])
    const { name, tokenTtl, scopes } = (await world.apps.get(app.id))!
    assert.deepEqual([name, tokenTtl, scopes], ['renamed', 7, ['x:y:z']])
  })

  it('that another hand has written wrongly are no apps', async () => {
    const world = await open()
    await world.state.records.write('app', { id: 'broken', value: { name: 7 }, until: 0 }, undefined)
    assert.equal(await world.apps.get('broken'), undefined)
    assert.deepEqual((await world.apps.list(10)).apps, [])
    assert.equal(await world.apps.authenticate('broken', ''), undefined)
  })
})
