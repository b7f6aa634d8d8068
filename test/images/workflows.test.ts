import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const folder = fileURLToPath(new URL('../../.github/workflows/', import.meta.url))
const names = readdirSync(folder).filter((name) => name.endsWith('.yml'))
const text = (name: string): string => readFileSync(join(folder, name), 'utf8')

interface Workflow {
  readonly permissions: Record<string, string>
  readonly jobs: Record<
    string,
    { permissions: Record<string, string>; steps: readonly { uses?: string; run?: string; with?: Record<string, string> }[] }
  >
}

describe('workflows', () => {
  const actionlint = process.env['POSTERN_TEST_ACTIONLINT']

  describe('by actionlint', function () {
    this.timeout(60_000)
    let scratch: TemporaryFolder
    before(function () {
      if (actionlint === undefined) this.skip()
      scratch = temporaryFolder('workflows')
    })
    after(() => scratch?.remove())

    const lint = (path: string) => spawnSync(actionlint!, ['-no-color', '-shellcheck=', '-pyflakes=', path], { encoding: 'utf8' })

    for (const name of names)
      it(`${name} is clean`, () => {
        const { status, stdout } = lint(join(folder, name))
        assert.equal(status, 0, stdout)
      })

    for (const [what, from, to, told] of [
      [
        'an output of a step that does not exist',
        'steps.build.outputs.digest',
        'steps.built.outputs.digest',
        /property "built" is not defined/,
      ],
      ['a permission that does not exist', 'id-token: write', 'id-tokens: write', /unknown permission scope "id-tokens"/],
      ['a step that runs nothing', 'run: cosign sign', 'runs: cosign sign', /step must run script with "run" section/],
    ] as const)
      it(`would find ${what}`, () => {
        const broken = scratch.file('broken.yml')
        assert.ok(text('release.yml').includes(from))
        writeFileSync(broken, text('release.yml').replace(from, to))
        const { status, stdout } = lint(broken)
        assert.equal(status, 1)
        assert.match(stdout, told)
      })
  })

  for (const name of names) {
    const workflow = parse(text(name)) as Workflow
    const steps = Object.values(workflow.jobs).flatMap((job) => job.steps)

    it(`${name} names actions by commit, and gives rights to jobs alone`, () => {
      assert.deepEqual(workflow.permissions, {})
      for (const { uses } of steps) if (uses !== undefined) assert.match(uses, /^[\w-]+\/[\w-]+@[0-9a-f]{40}$/)
      for (const job of Object.values(workflow.jobs)) assert.ok(job.permissions['contents'] === 'read')
    })

    it(`${name} leaves no credentials in the checkout, and puts no input into a script`, () => {
      const [checkout] = steps.filter(({ uses }) => uses?.startsWith('actions/checkout@'))
      assert.equal(String(checkout?.with?.['persist-credentials']), 'false')
      for (const { run = '' } of steps) assert.doesNotMatch(run, /\$\{\{/)
    })
  }

  it('release.yml publishes both architectures with SBOM, provenance and signature, and these tags', () => {
    const { steps } = Object.values((parse(text('release.yml')) as Workflow).jobs)[0]!
    const build = steps.find(({ uses }) => uses?.startsWith('docker/build-push-action@'))?.with
    assert.deepEqual(
      [build?.['platforms'], String(build?.['sbom']), build?.['provenance']],
      ['linux/amd64,linux/arm64', 'true', 'mode=max'],
    )
    assert.ok(steps.some(({ run }) => /^cosign sign --yes --recursive "\$\{IMAGE\}@\$\{DIGEST\}"/.test(run ?? '')))
    const tags = String(steps.find(({ uses }) => uses?.startsWith('docker/metadata-action@'))?.with?.['tags'])
    for (const tag of ['v{{version}}', 'v{{major}}.{{minor}}', 'v{{major}}\n', 'value=latest', 'prefix=main-'])
      assert.ok(tags.includes(tag), tag)
  })
})
