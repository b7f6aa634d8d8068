import assert from 'node:assert/strict'
import type { KubernetesObject } from '../../src/adapters/kubernetes-object.ts'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { createMirror, type Mirror, type MirrorChange, NotLeading } from '../../src/compose/sync-mirror.ts'
import { type RecordRules, wantedOf } from '../../src/compose/sync-record.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import type { State } from '../../src/core/ports.ts'

const owner = 'agentcube.io/owner'
const shared = 'agentcube.io/shared-with'
const tenant = 'agentcube.io/tenant'
const rules: RecordRules = {
  cluster: 'c1',
  id: { kind: 'name' },
  prefix: '',
  ownerLabel: owner,
  sharedLabel: shared,
  tenantLabel: tenant,
  endpointLabel: 'agentcube.io/endpoint',
  endpoint: undefined,
}
type Texts = Readonly<Record<string, string>>
const object = (
  name: string,
  labels: Texts = {},
  more: Partial<Omit<KubernetesObject, 'annotations'>> & { annotations?: Texts } = {},
): KubernetesObject => ({
  uid: `uid-${name}`,
  name,
  namespace: 'ns',
  resourceVersion: '1',
  terminating: false,
  labels: new Map(Object.entries(labels)),
  ip: undefined,
  ports: new Map(),
  ...more,
  annotations: new Map(Object.entries(more.annotations ?? {})),
})
const recordOf = (of: KubernetesObject, by: Partial<RecordRules> = {}): Texts => {
  const wanted = wantedOf(of, { ...rules, ...by })
  assert.ok(typeof wanted === 'object', String(wanted))
  const { 'mark:source': _, ...record } = Object.fromEntries(wanted.record)
  return record
}

describe('the record of an object', () => {
  const hash = ownerLabelValue('auth0|abc')
  const cases: { what: string; labels?: Texts; annotations?: Texts; rules?: Partial<RecordRules>; record: Texts }[] = [
    { what: 'has its labels', labels: { app: 'x', [owner]: 'alice' }, record: { app: 'x', [owner]: 'alice' } },
    { what: 'has no owner where none is named', labels: { app: 'x' }, record: { app: 'x' } },
    {
      what: 'takes the owner of the annotation, not that of the label',
      labels: { [owner]: 'mallory' },
      annotations: { [owner]: 'alice' },
      record: { [owner]: 'alice' },
    },
    {
      what: 'holds a hash where the subject is no label value',
      annotations: { [owner]: 'auth0|abc' },
      record: { [owner]: hash, [`annotation:${owner}`]: 'auth0|abc' },
    },
    {
      what: 'has no owner where the annotation is empty, whatever the label',
      labels: { [owner]: 'mallory' },
      annotations: { [owner]: '' },
      record: {},
    },
    { what: 'has the prefix before its owner', labels: { [owner]: 'alice' }, rules: { prefix: 'kc-' }, record: { [owner]: 'kc-alice' } },
    { what: 'takes a hash as it is where there is no prefix', labels: { [owner]: hash }, record: { [owner]: hash } },
    { what: 'takes no hash where there is a prefix', labels: { [owner]: hash }, rules: { prefix: 'kc-' }, record: {} },
    {
      what: 'has prefixes before shares that are subjects, and before no others',
      annotations: { [shared]: 'bob;write, role:admin,group:dev;write,a%2Cb,auth0|x' },
      rules: { prefix: 'k ' },
      record: { [shared]: 'k%20bob;write,role:admin,group:dev;write,k%20a%2Cb,k%20auth0|x' },
    },
    {
      what: 'leaves out shares that are hashes under a prefix, or broken',
      annotations: { [shared]: `${hash},bob%,,carol;read,dave` },
      rules: { prefix: 'k-' },
      record: { [shared]: 'k-dave' },
    },
    { what: 'keeps a subject from being read as a role', annotations: { [shared]: 'role%3Aadmin' }, record: { [shared]: 'role%3Aadmin' } },
    {
      what: 'has the tenant, by the annotation first',
      labels: { [tenant]: 'a' },
      annotations: { [tenant]: 'Tenant B' },
      record: { [tenant]: ownerLabelValue('Tenant B'), [`annotation:${tenant}`]: 'Tenant B' },
    },
    { what: 'has no label that would pass for a mark', labels: { 'mark:orphan': 'x', 'annotation:a': 'x' }, record: {} },
    { what: 'has no other annotations', annotations: { note: 'x' }, record: {} },
  ]
  for (const { what, labels, annotations, rules: by, record } of cases)
    it(what, () => assert.deepEqual(recordOf(object('s1', labels, { annotations: annotations ?? {} }), by), record))

  it('has the endpoint of a pod that is asked for, and no label of that name', () => {
    const pod = object('p', { 'agentcube.io/endpoint': 'x' }, { ip: '10.0.0.1', ports: new Map([['http', 8080]]) })
    const at = (port: number | string, of = pod) =>
      recordOf(of, { endpoint: { label: 'agentcube.io/endpoint', port } })['agentcube.io/endpoint']
    assert.equal(at(80), '10.0.0.1:80')
    assert.equal(at('http'), '10.0.0.1:8080')
    assert.equal(at('grpc'), undefined)
    assert.equal(at(80, { ...pod, ip: 'fd00::1' }), '[fd00::1]:80')
    assert.equal(at(80, { ...pod, terminating: true }), undefined)
  })

  const idCases: [RecordRules['id'], string][] = [
    [{ kind: 'name' }, 's1'],
    [{ kind: 'namespace.name' }, 'ns.s1'],
    [{ kind: 'label', key: 'id' }, 'from-label'],
    [{ kind: 'annotation', key: 'id' }, 'no_id'],
    [{ kind: 'label', key: 'bad' }, 'illegal_id'],
  ]
  for (const [id, expected] of idCases)
    it(`goes by ${id.kind} ${'key' in id ? id.key : ''}: ${expected}`, () => {
      const wanted = wantedOf(object('s1', { id: 'from-label', bad: 'x:y' }), { ...rules, id })
      assert.equal(typeof wanted === 'string' ? wanted : wanted.id, expected)
    })

  it('is not made of more labels than a record may have', () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, 'x']))
    assert.equal(wantedOf(object('s1', many), rules), 'too_many_labels')
  })
})

describe('a mirror', () => {
  let state: State
  let mirror: Mirror
  let leads: boolean
  let changes: MirrorChange[]
  const kinds = (): string[] => changes.splice(0).map((change) => ('reason' in change ? `${change.kind} ${change.reason}` : change.kind))
  const read = async (id: string): Promise<Texts | undefined> => {
    const found = await state.labels.read('sandbox', id)
    return found && Object.fromEntries(found.labels)
  }
  const write = (id: string, labels: Texts) => state.labels.write('sandbox', id, new Map(Object.entries(labels)))
  beforeEach(async () => {
    state = await openMemoryState({ realm: 'default' })
    leads = true
    changes = []
    mirror = createMirror({
      labels: state.labels,
      kind: 'sandbox',
      rules,
      mayWrite: () => leads,
      onChange: (change) => void changes.push(change),
      onLeftOut: () => {},
    })
    await mirror.load()
  })
  afterEach(() => state.close())
  const source = (name: string) => ({ 'mark:source': `kubernetes:c1/uid-${name}` })

  it('takes over a record of the same owner, and one of nobody, with marks and what a capture wrote', async () => {
    await write('s1', { [owner]: 'alice', [tenant]: 't1', 'agentcube.io/endpoint': '10.0.0.1:80', other: 'x' })
    await write('s2', { 'mark:orphan': 'd 1' })
    await mirror.set(object('s1', { [owner]: 'alice', app: 'y' }))
    await mirror.set(object('s2', { [owner]: 'alice' }))
    assert.deepEqual(kinds(), ['adopted', 'adopted'])
    assert.deepEqual(await read('s1'), {
      [owner]: 'alice',
      [tenant]: 't1',
      'agentcube.io/endpoint': '10.0.0.1:80',
      app: 'y',
      ...source('s1'),
    })
    assert.deepEqual(await read('s2'), { [owner]: 'alice', 'mark:orphan': 'd 1', ...source('s2') })
  })

  it('takes over nothing of somebody else, and tells it once', async () => {
    await write('s1', { [owner]: 'bob' })
    await write('s2', { [owner]: 'alice', 'mark:source': 'kubernetes:c2/x' })
    await mirror.set(object('s1', { [owner]: 'alice' }))
    await mirror.set(object('s1', { [owner]: 'alice', app: 'x' }))
    await mirror.set(object('s2', { [owner]: 'alice' }))
    await mirror.set(object('s3'))
    assert.deepEqual(kinds(), ['conflict other_owner', 'conflict mirrored_elsewhere', 'created'])
    await mirror.gone(object('s1'))
    await mirror.gone(object('s2'))
    assert.deepEqual(await read('s1'), { [owner]: 'bob' })
    assert.deepEqual(await read('s2'), { [owner]: 'alice', 'mark:source': 'kubernetes:c2/x' })
  })

  it('takes over nothing that has an owner where the object names none', async () => {
    await write('s1', { [owner]: 'bob' })
    await mirror.set(object('s1'))
    assert.deepEqual(kinds(), ['conflict other_owner'])
  })

  it('settles a conflict when the record is free', async () => {
    await write('s1', { [owner]: 'bob' })
    await mirror.set(object('s1', { [owner]: 'alice' }))
    await state.labels.remove('sandbox', 's1')
    await mirror.settle()
    assert.deepEqual(kinds(), ['conflict other_owner', 'created'])
  })

  it('keeps a mark of deletion until the object is gone, and brings nothing back', async () => {
    await mirror.set(object('s1', { [owner]: 'alice' }))
    await write('s1', { ...(await read('s1')), 'mark:deleting': 'd 1' })
    await mirror.set(object('s1', { [owner]: 'alice', app: 'x' }, { terminating: true }))
    assert.equal((await read('s1'))?.['mark:deleting'], 'd 1')
    await state.labels.remove('sandbox', 's1')
    await mirror.set(object('s1', { [owner]: 'alice', app: 'z' }, { terminating: true }))
    assert.equal(await read('s1'), undefined)
    await mirror.gone(object('s1'))
    assert.deepEqual(kinds(), ['created', 'changed', 'unchanged', 'unchanged'])
  })

  it('follows an object to another id, and forgets the old one', async () => {
    const byLabel = { ...rules, id: { kind: 'label', key: 'id' } } as const
    const other = createMirror({
      labels: state.labels,
      kind: 'sandbox',
      rules: byLabel,
      mayWrite: () => true,
      onChange: () => {},
      onLeftOut: () => {},
    })
    await other.set(object('s1', { id: 'a', [owner]: 'alice' }))
    await other.set(object('s1', { id: 'b', [owner]: 'alice' }))
    assert.equal(await read('a'), undefined)
    assert.equal((await read('b'))?.[owner], 'alice')
    // A second object of the same id gets nothing while the first exists.
    await other.set(object('s2', { id: 'b', [owner]: 'mallory' }))
    assert.equal((await read('b'))?.[owner], 'alice')
    await other.set(object('s1', { [owner]: 'alice' }))
    assert.equal(await read('b'), undefined)
    await other.settle()
    assert.equal((await read('b'))?.[owner], 'mallory')
  })

  it('gives the id of an object that was made anew to the new one', async () => {
    await mirror.set(object('s1', { [owner]: 'alice' }))
    kinds()
    const listing = mirror.listing()
    await listing.page([object('s1', { [owner]: 'bob' }, { uid: 'uid-new' })])
    assert.equal((await read('s1'))?.[owner], 'alice')
    assert.equal(await listing.end(), 0)
    await listing.sweep()
    assert.equal((await read('s1'))?.[owner], 'bob')
    // The old object's deletion, told late, takes nothing of the new one's away.
    await mirror.gone(object('s1'))
    assert.equal((await read('s1'))?.[owner], 'bob')
  })

  it('writes nothing when it leads no more', async () => {
    leads = false
    await assert.rejects(mirror.set(object('s1', { [owner]: 'alice' })), NotLeading)
    await assert.rejects(mirror.listing().page([object('s2')]), NotLeading)
    assert.equal(await read('s1'), undefined)
  })

  it('writes again what changed under its hands, by what it is now', async () => {
    await mirror.set(object('s1', { [owner]: 'alice' }))
    const { swap, ...others } = state.labels
    let raced = 0
    const racing = createMirror({
      labels: {
        ...others,
        swap: async (...args) => {
          if (raced++ < 3) await write('s1', { ...(await read('s1')), 'mark:deleting': `d ${raced}` })
          return swap(...args)
        },
      },
      kind: 'sandbox',
      rules,
      mayWrite: () => true,
      onChange: () => {},
      onLeftOut: () => {},
    })
    await racing.set(object('s1', { [owner]: 'bob' }))
    assert.deepEqual(await read('s1'), { [owner]: 'bob', 'mark:deleting': 'd 3', ...source('s1') })
  })

  it('learns from state what it mirrored before', async () => {
    for (let i = 0; i < 1500; i++) await write(`old-${i}`, { [owner]: 'alice', ...source(`old-${i}`) })
    await write('foreign', { [owner]: 'alice', 'mark:source': 'kubernetes:c2/x' })
    await write('own', { [owner]: 'alice' })
    await mirror.load()
    assert.equal(mirror.size(), 1500)
    const listing = mirror.listing()
    await listing.page([object('old-7', { [owner]: 'alice' })])
    assert.equal(await listing.end(), 1499)
    await listing.sweep()
    assert.equal(mirror.size(), 1)
    assert.notEqual(await read('old-7'), undefined)
    assert.equal(await read('old-8'), undefined)
    assert.notEqual(await read('foreign'), undefined)
    assert.notEqual(await read('own'), undefined)
  })
})
