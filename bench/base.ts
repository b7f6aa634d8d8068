import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { run, SetupError } from '../deploy/local/command.mjs'
import { once } from '../deploy/local/once.mjs'
import type { Build } from './postern.ts'

/**
 * Builds an earlier commit in the cache folder, from `git archive`, with its own packages; later runs reuse it.
 * @param base a commit, tag or branch; absent: the newest release (tag `v…`) that this commit descends from, and where there is
 *   none, the commit before this one
 * @throws {SetupError} where there is no such commit, or it cannot be built
 */
export async function buildBase(checkout: string, base: string | undefined, say: (text: string) => void): Promise<Build> {
  const ref = base ?? lastRelease(checkout) ?? parent(checkout, say)
  const commit = git(checkout, 'rev-parse', '--verify', '--quiet', `${ref}^{commit}`)
  if (commit === undefined) throw new SetupError(`--base ${ref}: there is no such commit in this checkout`)
  const name = ref === commit ? commit.slice(0, 12) : `${ref} (${commit.slice(0, 12)})`
  // In place: npm's links in node_modules/.bin do not mind, but what was built once should stay where it was built.
  const folder = await once(`base-${commit.slice(0, 12)}`, `building ${name}`, (scratch) => build(checkout, commit, scratch), {
    inPlace: true,
  })
  return { main: join(folder, 'dist/main.js'), version: name }
}

async function build(checkout: string, commit: string, scratch: string): Promise<void> {
  const archive = join(scratch, 'source.tar')
  await run('git', ['archive', '--format=tar', `--output=${archive}`, commit], { cwd: checkout })
  await run('tar', ['-xf', archive, '-C', scratch])
  await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: scratch })
  // The commit's own way to build.
  await run('npm', ['run', 'build'], { cwd: scratch, env: { PATH: pathWithThisNode() } })
}

/** npm's scripts find `node` on the path: the one that runs this. */
const pathWithThisNode = (): string => `${join(process.execPath, '..')}:${process.env['PATH'] ?? ''}`

const lastRelease = (checkout: string): string | undefined => git(checkout, 'describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD')

function parent(checkout: string, say: (text: string) => void): string {
  say('no release (tag v…) is reachable from this commit: comparing with the commit before it; --base names another')
  return git(checkout, 'rev-parse', 'HEAD^') ?? 'HEAD^'
}

/** What git prints; undefined where it fails. */
function git(checkout: string, ...args: string[]): string | undefined {
  try {
    return execFileSync('git', args, { cwd: checkout, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}
