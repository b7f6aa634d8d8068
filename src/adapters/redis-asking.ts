import type { Redis } from 'ioredis'

/**
 * The same connection, each of whose commands, or transactions, is preceded by ASKING: for keys of a slot that the server is
 * being given (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#ask-redirection). Pipelines that are
 * no transaction are not covered. Command: ASKING.
 */
export function asking(redis: Redis): Redis {
  let within = false
  const sendCommand: Redis['sendCommand'] = (command, stream) => {
    // Inside MULTI the flag stays, and one more command would be one more reply.
    if (!within) redis.call('ASKING').catch(() => {})
    if (command.name === 'multi') within = true
    else if (command.name === 'exec') within = false
    return redis.sendCommand(command, stream)
  }
  return Object.create(redis, { sendCommand: { value: sendCommand } }) as Redis
}
