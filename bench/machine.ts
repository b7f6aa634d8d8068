import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'

/** What was measured on. */
export function machine(): Record<string, string | number> {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 1e9),
    system: `Linux ${release()}`,
    os: osName(),
  }
}

function osName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

/** `1.40.0` of `envoy  version: …/1.40.0/…`, or of whatever else a program answers. */
export function versionOf(program: string): string {
  try {
    const answer = execFileSync(program, ['--version'], { encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] })
    return /\b\d+\.\d+\.\d+\b/.exec(answer)?.[0] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

/** The commit of a checkout, and whether files differ from it; an unpacked archive has none. */
export function commitOf(folder: string): { readonly commit: string; readonly changed: boolean } {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return {
      commit: git('rev-parse', '--short=12', 'HEAD'),
      changed: git('status', '--porcelain', '--', 'src', 'package-lock.json') !== '',
    }
  } catch {
    return { commit: 'unknown', changed: false }
  }
}
