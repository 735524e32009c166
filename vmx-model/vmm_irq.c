/*
 * External interrupts under VMX and binary translation.
 *
 * A physical interrupt always leaves the guest. If the guest's IF lets it, the virtual one is injected at that entry; otherwise the VMM asks for a window and injects
 * when the guest opens it. Everything is decided by IF at the moment the line goes up, by HLT, and by the order of events, so that a replay decides the same.
 */
#include "vmm.h"

static void irq_inject(struct vmm *v)
{
	vmm_work(v, WORK_INTERRUPT, v->config.inject_instructions);
	vmm_load(v, v->vcpu_page + 256, 8);       /* virtual interrupt controller: pending */
	vmm_store_data(v, v->vcpu_page + 256, 0, 8);
	v->irq.injected = true;
}

static void irq_wake(struct vmm *v)
{
	irq_inject(v);
	v->irq.halted = false;
	v->technique->cpu->entry(v, EXIT_HLT);
}

void vmm_irq_exit(struct vmm *v)
{
	bool open = v->cpu->eflags & FLAG_IF;
	if (v->irq.halted) {
		if (open)
			irq_wake(v);
		return;
	}
	v->technique->cpu->exit(v, EXIT_EXTERNAL_INTERRUPT);
	vmm_store_data(v, v->vcpu_page + 256, 1, 8);
	if (open)
		irq_inject(v);
	else /* asks for a window */
		vmm_work(v, WORK_INTERRUPT, v->config.inject_instructions / 2);
	v->technique->cpu->entry(v, EXIT_EXTERNAL_INTERRUPT);
}

void vmm_irq_deliver(struct vmm *v)
{
	if (v->irq.halted) {
		irq_wake(v);
	} else if (!v->irq.injected) {
		v->technique->cpu->exit(v, EXIT_INTERRUPT_WINDOW);
		irq_inject(v);
		v->technique->cpu->entry(v, EXIT_INTERRUPT_WINDOW);
	}
	v->irq.injected = false;
}

void vmm_irq_halt(struct vmm *v)
{
	v->technique->cpu->exit(v, EXIT_HLT);
	vmm_work(v, WORK_EMULATE, v->config.emulate_instructions);
	v->irq.halted = true;
}
