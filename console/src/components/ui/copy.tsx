import { Check, Copy } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';

import { useMessages } from '@/messages/messages';

import { Button } from './button';

interface CopyButtonProps {
  text: string;
  label: string;
  /** Not every browser lets a page copy. */
  onTried: (isCopied: boolean) => void;
}

/** Copies a text, and says that it has. */
function CopyButton({ text, label, onTried }: CopyButtonProps) {
  const { actions } = useMessages();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);

  async function copy() {
    try {
      // Without TLS there is no clipboard at all.
      await navigator.clipboard.writeText(text);
      setCopied(true);
      onTried(true);
    } catch {
      onTried(false);
    }
  }

  return (
    <Button size="small" aria-label={label} onClick={() => void copy()}>
      {copied ? <Check /> : <Copy />}
      <span aria-live="polite">{copied ? actions.copied : actions.copy}</span>
    </Button>
  );
}

/** Lines to copy. All of them can be seen and selected without the button, too. */
export function CodeBlock({ code, label }: { code: string; label: string }) {
  const { actions } = useMessages();
  const lines = useRef<HTMLPreElement>(null);
  const [isRefused, setRefused] = useState(false);

  function onTried(isCopied: boolean) {
    if (!isCopied && lines.current) getSelection()?.selectAllChildren(lines.current);
    setRefused(!isCopied);
  }

  return (
    <div className="rounded-lg border border-line bg-sunken p-2">
      <div className="flex items-start gap-2">
        <pre
          ref={lines}
          className="min-w-0 flex-1 px-1 py-1 font-mono text-xs leading-relaxed break-all whitespace-pre-wrap select-all"
        >
          {code}
        </pre>
        <CopyButton text={code} label={label} onTried={onTried} />
      </div>
      {isRefused && (
        <p role="alert" className="px-1 pt-1 text-xs font-medium">
          {actions.copyRefused}
        </p>
      )}
    </div>
  );
}
