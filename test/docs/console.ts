import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'

/** A command of a console block, with what it is to print and to end with. */
export interface Command {
  readonly text: string
  readonly exit: number
  readonly expected: readonly string[]
}

/** Reads a console block: commands begin with `$ `, what follows is their output. */
export function commandsOf(block: string): Command[] {
  const commands: { text: string; exit: number; expected: string[] }[] = []
  for (const line of block.trimEnd().split('\n')) {
    if (line.startsWith('$ ')) {
      const [, text = '', exit = '0'] = /^\$ (.*?)(?: # exit (\d))?$/.exec(line) ?? []
      commands.push({ text, exit: Number(exit), expected: [] })
    } else {
      const last = commands.at(-1)
      assert.ok(last, `a console block begins with a command, not with: ${line}`)
      last.expected.push(line)
    }
  }
  return commands
}

const mark = '\u001e'

export interface Shell {
  readonly cwd: string
  /** A folder with the command `postern`. */
  readonly bin: string
}

/**
 * Runs commands in one bash; gives the output (both streams) and exit code of each. Variables that they set, in upper case, are there for
 * the next block.
 */
export async function runCommands(commands: readonly Command[], { cwd, bin }: Shell): Promise<{ output: string; exit: number }[]> {
  const kept = `${bin}/variables`
  const names = commands.flatMap(({ text }) => /^([A-Z]+)=/.exec(text)?.[1] ?? [])
  const script = [
    // One pipe for both streams: what is printed comes in the order in which it was written.
    'exec 2>&1',
    `[ -e ${kept} ] && . ${kept}`,
    ...commands.map(({ text }) => `${text}\nprintf '${mark}%s${mark}' "$?"`),
    names.length > 0 ? `declare -p ${names.join(' ')} >> ${kept}` : '',
  ].join('\n')
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` }
  const child = spawn('bash', ['-c', script], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => {
      out += part
    })
  const timer = setTimeout(() => child.kill('SIGKILL'), 50_000)
  await new Promise((done) => child.on('close', done))
  clearTimeout(timer)
  const parts = out.split(mark)
  return commands.map((_, i) => ({ output: parts[i * 2] ?? '', exit: Number(parts[i * 2 + 1] ?? -1) }))
}

/** `…` in what is expected stands for anything. */
export function assertOutput({ text, expected }: Command, output: string): void {
  if (expected.length === 0) return
  const pattern = expected
    .join('\n')
    // A line of its own may stand for no line at all.
    .replace(/(^|\n)…(?:\n|$)/g, '$1…')
    .split('…')
    .map((part) => (part.trimEnd() === '' && part !== '' ? '\\s*' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')))
    .join('[\\s\\S]*')
  const seen = output
    .replaceAll('\r', '')
    .replace(/[ \t]+$/gm, '')
    .trim()
  assert.match(seen, new RegExp(`^${pattern}$`), `$ ${text}\nprinted:\n${seen}\nexpected:\n${expected.join('\n')}`)
}
