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

interface Step {
  readonly id?: string
  readonly uses?: string
  readonly run?: string
  readonly with?: Record<string, string>
}

interface Workflow {
  readonly permissions: Record<string, string>
  readonly jobs: Record<string, { permissions: Record<string, string>; uses?: string; needs?: string; steps?: readonly Step[] }>
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
    const steps = Object.values(workflow.jobs).flatMap((job) => job.steps ?? [])

    it(`${name} names actions by commit, and gives rights to jobs alone`, () => {
      assert.deepEqual(workflow.permissions, {})
      for (const { uses } of steps) if (uses !== undefined) assert.match(uses, /^[\w-]+\/[\w-]+@[0-9a-f]{40}$/)
      for (const { permissions, uses = './.github/workflows/' } of Object.values(workflow.jobs)) {
        assert.equal(permissions['contents'], 'read')
        assert.match(uses, /^\.\/\.github\/workflows\//)
      }
    })

    it(`${name} leaves no credentials in the checkout, and puts no input into a script`, () => {
      const [checkout] = steps.filter(({ uses }) => uses?.startsWith('actions/checkout@'))
      assert.deepEqual([String(checkout?.with?.['persist-credentials']), String(checkout?.with?.['fetch-depth'])], ['false', '0'])
      for (const { run = '' } of steps) assert.doesNotMatch(run, /\$\{\{/)
    })
  }

  const { image, tests } = (parse(text('release.yml')) as Workflow).jobs
  const steps = image?.steps ?? []

  it('release.yml publishes nothing that fails the tests', () => {
    assert.equal(image?.needs, 'tests')
    assert.equal(tests?.uses, './.github/workflows/ci.yml')
    assert.ok(/^ {2}workflow_call:$/m.test(text('ci.yml')))
  })

  it('release.yml publishes both architectures with SBOM, provenance and signature, and these tags', () => {
    const build = steps.find(({ uses }) => uses?.startsWith('docker/build-push-action@'))?.with
    assert.deepEqual(
      [build?.['platforms'], String(build?.['sbom']), build?.['provenance']],
      ['linux/amd64,linux/arm64', 'true', 'mode=max'],
    )
    assert.ok(steps.some(({ run }) => /^cosign sign --yes --recursive "\$\{IMAGE\}@\$\{DIGEST\}"/.test(run ?? '')))
    const tags = String(steps.find(({ uses }) => uses?.startsWith('docker/metadata-action@'))?.with?.['tags'])
    assert.deepEqual(tags.trim().split('\n'), [
      'type=semver,pattern=v{{version}}',
      `type=semver,pattern=v{{major}}.{{minor}},enable=\${{ steps.newest.outputs.minor }}`,
      `type=semver,pattern=v{{major}},enable=\${{ steps.newest.outputs.major }}`,
      `type=raw,value=latest,enable=\${{ steps.newest.outputs.all }}`,
      `type=sha,format=long,prefix=main-,enable=\${{ github.ref == 'refs/heads/main' }}`,
    ])
  })

  describe('by the scripts of release.yml', () => {
    let scratch: TemporaryFolder
    before(() => {
      scratch = temporaryFolder('release')
      const git = (...args: string[]) =>
        spawnSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd: scratch.path, encoding: 'utf8' })
      git('init', '--quiet')
      assert.equal(git('commit', '--quiet', '--allow-empty', '--message', 'one').status, 0)
      for (const tag of ['v1.2.3', 'v1.2.10', 'v1.9.0', 'v1.10.0', 'v2.0.0', 'v2.0.1-rc.1', 'vnext']) git('tag', tag)
    })
    after(() => scratch.remove())

    /** What a step sets: its outputs and its environment, by the shell that the service runs it with. */
    const outputs = (id: string, ref: string): Record<string, string> => {
      const script = steps.find((step) => step.id === id)?.run
      assert.ok(script)
      const [output, env] = [scratch.file('output'), scratch.file('env')]
      for (const file of [output, env]) writeFileSync(file, '')
      const { status, stderr } = spawnSync('bash', ['-e', '-c', script], {
        cwd: scratch.path,
        env: { PATH: process.env['PATH'], GITHUB_REF: ref, GITHUB_OUTPUT: output, GITHUB_ENV: env, GITHUB_REPOSITORY: 'Some/Postern' },
        encoding: 'utf8',
      })
      assert.equal(status, 0, stderr)
      return Object.fromEntries(
        `${readFileSync(output, 'utf8')}${readFileSync(env, 'utf8')}`
          .trim()
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      )
    }

    for (const [ref, all, major, minor] of [
      ['refs/tags/v2.0.0', true, true, true],
      ['refs/tags/v1.10.0', false, true, true],
      ['refs/tags/v1.9.0', false, false, true],
      ['refs/tags/v1.2.10', false, false, true],
      ['refs/tags/v1.2.3', false, false, false],
      ['refs/heads/main', false, false, false],
    ] as const)
      it(`${ref} is ${all ? '' : 'not '}latest`, () =>
        assert.deepEqual(outputs('newest', ref), { all: String(all), major: String(major), minor: String(minor) }))

    it('an image is named without capitals, with the time of its commit', () => {
      const { IMAGE, epoch, created, ...more } = outputs('commit', 'refs/heads/main')
      assert.equal(IMAGE, 'ghcr.io/some/postern')
      assert.equal(new Date(created ?? '').getTime() / 1000, Number(epoch))
      assert.deepEqual(more, {})
    })
  })
})
