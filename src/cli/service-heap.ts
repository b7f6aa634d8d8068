import { setFlagsFromString } from 'node:v8'

/**
 * Megabytes of a semi-space of V8's young generation. Node's own choice (16) takes more memory and longer pauses, and no less CPU:
 * docs/performance.md has the figures.
 */
const semiSpaceMb = 8
/**
 * By how many percent the old generation may grow until it is collected. What HTTP/2 leaves there is small, but holds much more outside of
 * the heap, which V8 does not count.
 */
const growingPercent = 30
/** glibc otherwise keeps memory for each thread apart, most of it unused. */
const arenas = { name: 'MALLOC_ARENA_MAX', value: '1' }

/**
 * Gives the process the heap that a service wants. What V8 and libc take only when they start makes the process begin anew, in the same
 * place (execve: the process id stays, and nothing has been opened yet). What the operator chose, by flag or environment, stays.
 */
export function useServiceHeap(): void {
  const { env, execArgv, execPath, argv } = process
  const semiSpaceChosen = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((text) => /semi[-_]space/.test(text))
  // A process with a channel to its parent would lose it; a worker has its flags from the primary.
  if (!semiSpaceChosen && process.send === undefined && process.execve !== undefined) {
    const flags = [`--max-semi-space-size=${semiSpaceMb}`, ...execArgv]
    try {
      process.execve(execPath, [execPath, ...flags, ...argv.slice(1)], { ...env, [arenas.name]: env[arenas.name] ?? arenas.value })
    } catch {
      // Where that is not allowed, or not possible, the service takes more memory and is the same otherwise.
    }
  }
  setFlagsFromString(`--heap-growing-percent=${growingPercent}`)
}
