import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from '../support/temporary-folder.ts'

const execute = promisify(execFile)
const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const file = path('deploy/nomad/postern.nomad.hcl')
const image = 'image=ghcr.io/example/postern@sha256:00'

interface Task {
  readonly Name: string
  readonly User: string
  readonly Lifecycle: { readonly Hook: string; readonly Sidecar: boolean } | null
  readonly Config: Readonly<Record<string, unknown>>
  readonly Identities: readonly { readonly Name: string; readonly Audience: readonly string[] }[] | null
  readonly Templates: readonly { readonly DestPath: string; readonly EmbeddedTmpl: string; readonly Perms: string }[] | null
  readonly VolumeMounts: readonly { readonly Volume: string; readonly Destination: string }[] | null
}
interface Job {
  readonly TaskGroups: readonly {
    readonly Name: string
    readonly Tasks: readonly Task[]
    readonly Volumes: Readonly<Record<string, { readonly Type: string; readonly Source: string }>> | null
  }[]
}

describe('deploy/nomad/postern.nomad.hcl, as Nomad reads it', function () {
  this.timeout(30_000)
  const reader = process.env['POSTERN_TEST_NOMAD_JOBSPEC'] ?? ''
  const read = async (...args: readonly string[]): Promise<Job> => JSON.parse((await execute(reader, args)).stdout) as Job
  before(function () {
    if (reader === '') this.skip()
  })
  const taskOf = (job: Job, name: string): Task =>
    job.TaskGroups.flatMap(({ Tasks }) => Tasks).find(({ Name }) => Name === name) ?? assert.fail(`no task ${name}`)

  it('is a job with an identity for Postern, and a host volume for Redis', async () => {
    const job = await read(file, image)
    assert.deepEqual(
      job.TaskGroups.map(({ Name, Tasks }) => [Name, Tasks.map((task) => task.Name)]),
      [
        ['redis', ['redis']],
        ['edge', ['postern', 'envoy']],
      ],
    )
    const { Identities, Lifecycle, Config, User } = taskOf(job, 'postern')
    assert.deepEqual(
      Identities?.map(({ Name, Audience }) => [Name, Audience]),
      [['postern', ['postern']]],
    )
    assert.deepEqual([Lifecycle?.Hook, Lifecycle?.Sidecar, User], ['prestart', true, '65532:101'])
    assert.deepEqual([Config['image'], Config['readonly_rootfs'], Config['cap_drop']], [image.replace('image=', ''), true, ['all']])
    const volume = job.TaskGroups[0]?.Volumes?.['data']
    assert.deepEqual([volume?.Type, volume?.Source], ['host', 'postern-redis'])
    assert.deepEqual(
      taskOf(job, 'redis').VolumeMounts?.map((one) => [one.Volume, one.Destination]),
      [['data', '/data']],
    )
  })

  it('holds a policy that postern lint takes', async () => {
    const templates = taskOf(await read(file, image), 'postern').Templates ?? []
    const policy = templates.find(({ DestPath }) => DestPath === 'local/postern.yaml')?.EmbeddedTmpl ?? ''
    const folder = temporaryFolder('nomad')
    try {
      mkdirSync(folder.file('secrets'))
      for (const { DestPath, Perms } of templates.filter((one) => one.DestPath.startsWith('secrets/'))) {
        assert.equal(Perms, '0400')
        writeFileSync(folder.file(DestPath), '00112233445566778899aabbccddeeff'.repeat(2), { mode: 0o400 })
      }
      // As Nomad renders it.
      const rendered = policy
        .replace(/\{\{ range .*\{\{ end \}\}/, '192.0.2.1:6379')
        .replaceAll('file:/secrets/', `file:${folder.path}/secrets/`)
      assert.doesNotMatch(rendered, /\{\{/)
      writeFileSync(folder.file('postern.yaml'), rendered)
      const { stdout, stderr } = await execute(process.execPath, [path('src/main.ts'), 'lint', '--config', folder.file('postern.yaml')])
      assert.match(stdout + stderr, / 0 faults, /)
    } finally {
      folder.remove()
    }
  })

  const faults: readonly [title: string, from: string, to: string, message: RegExp][] = [
    ['a setting that Nomad does not know', 'kill_signal', 'kil_signal', /named "kil_signal" is not expected/],
    ['one that its docker driver does not know', 'cap_drop ', 'cap_droppp ', /task \w+: .*cap_droppp/],
    ['a variable that nobody declared', 'var.issuer', 'var.isuer', /isuer/],
  ]
  for (const [title, from, to, message] of faults)
    it(`would be refused for ${title}`, async () => {
      const folder = temporaryFolder('nomad')
      try {
        const text = readFileSync(file, 'utf8')
        assert.ok(text.includes(from))
        writeFileSync(folder.file('job.hcl'), text.replaceAll(from, to))
        await assert.rejects(read(folder.file('job.hcl'), image), message)
      } finally {
        folder.remove()
      }
    })

  it('wants to be told the image', () => assert.rejects(read(file), /Unset variable "image"/))
})
